"""The trailers of a release commit: where it comes from, in a form that git and people read alike."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

from interlock.errors import FormatError

SOURCE = "Interlock-Source"
COMMIT = "Interlock-Commit"
RUN = "Interlock-Run"
EVIDENCE = "Interlock-Evidence"
COMPONENT = "Interlock-Component"
_KEYS = (SOURCE, COMMIT, RUN, EVIDENCE, COMPONENT)  # in the order of the fields below

_TRAILER = re.compile(r"([A-Za-z0-9-]+): *(.*\S)\s*")
_VALUE = re.compile(r"[!-~]{1,300}")
_MESSAGE = "commit message"


@dataclass(frozen=True)
class Trailers:
    source_repository: str
    source_commit: str
    run: str
    """The id of the CI run."""
    evidence_digest: str
    component: str


def message(subject: str, trailers: Trailers) -> str:
    """A commit message: the subject, a blank line, the trailers."""
    if not subject.strip() or not subject.isprintable():
        raise FormatError("the subject must be one printable line", path=_MESSAGE)
    lines = [_line(key, value) for key, value in zip(_KEYS, astuple(trailers), strict=True)]
    return "\n".join((subject, "", *lines)) + "\n"


def _line(key: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise FormatError(f"{key} must be printable ASCII without blanks, not {value!r}", path=_MESSAGE)
    return f"{key}: {value}"


def parse(message: str) -> Trailers | None:
    """The trailers of a message; None when it carries none of ours. FormatError when some are missing or doubled."""
    found = [(key, value) for key, value in pairs(message) if key in _KEYS]
    if not found:
        return None
    values = dict(found)
    if len(values) != len(found):
        raise FormatError("a trailer of ours stands there twice", path=_MESSAGE)
    if missing := [key for key in _KEYS if key not in values]:
        raise FormatError(f"the trailers {', '.join(missing)} are missing", path=_MESSAGE)
    return Trailers(*(values[key] for key in _KEYS))


def pairs(message: str) -> tuple[tuple[str, str], ...]:
    """Key and value of every trailer: the lines of the last paragraph, when all of them have that form."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", message.strip("\n"))
    if len(paragraphs) < 2:
        return ()
    found = [_TRAILER.fullmatch(line) for line in paragraphs[-1].split("\n")]
    return tuple((each[1], each[2]) for each in found if each) if all(found) else ()
