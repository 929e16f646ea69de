"""Reading an application repository's interlock.yaml: what its components are and how they are tested."""

from __future__ import annotations

from interlock.contract import layout, strict_yaml
from interlock.contract.models import ApplicationRepositoryFile


def read_application(text: str) -> ApplicationRepositoryFile:
    """FormatError with the line when the file is not what format 1 asks for."""
    return strict_yaml.parse(text, ApplicationRepositoryFile, path=layout.APPLICATION_REPOSITORY)
