"""Reading an application repository's interlock.yaml: what its components are and how they are tested."""

from __future__ import annotations

from interlock.contract import layout, strict_yaml
from interlock.contract.models import ApplicationRepositoryFile
from interlock.errors import FormatError


def read_application(text: str) -> ApplicationRepositoryFile:
    """FormatError with the line when the file is not what format 1 asks for."""
    return strict_yaml.parse(text, ApplicationRepositoryFile, path=layout.APPLICATION_REPOSITORY)


def read_committed(content: bytes) -> ApplicationRepositoryFile:
    """As `read_application`, of a file's own bytes."""
    try:
        return read_application(content.decode())
    except UnicodeDecodeError as error:
        raise FormatError(
            f"not UTF-8 at byte {error.start}", path=layout.APPLICATION_REPOSITORY, hint="save it as UTF-8"
        ) from None


def missing(source: str, commit: str) -> FormatError:
    return FormatError(
        f"{source} {commit[:12]} has no such file",
        path=layout.APPLICATION_REPOSITORY,
        hint="`interlock init application` writes one",
    )
