"""The trailers of a release commit: where it comes from, in a form that git and people read alike."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

from interlock.contract.commit import person
from interlock.errors import FormatError

SOURCE = "Interlock-Source"
COMMIT = "Interlock-Commit"
RUN = "Interlock-Run"
EVIDENCE = "Interlock-Evidence"
COMPONENT = "Interlock-Component"
AUTHOR = "Co-authored-by"
"""Whoever wrote, or signed, a commit of the source that is released: they do not approve it."""
SOURCE_KEY = "Interlock-Source-Key"
_KEYS = (SOURCE, COMMIT, RUN, EVIDENCE, COMPONENT)  # in the order of the fields below

# Whoever may push writes the lines that these are tried on: each is linear in their length.
_TRAILER = re.compile(r"([A-Za-z0-9-]+):\s*(\S(?:.*\S)?)\s*")
MOST_NAME, MOST_ADDRESS = 64, 128
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
    authors: tuple[str, ...] = ()
    """Of the source's commits since the release before: `name <address>`."""
    source_keys: tuple[str, ...] = ()
    """The fingerprints of the keys that signed them."""


def message(subject: str, trailers: Trailers) -> str:
    """A commit message: the subject, a blank line, the trailers."""
    if not subject.strip() or not subject.isprintable():
        raise FormatError("the subject must be one printable line", path=_MESSAGE)
    own = astuple(trailers)[: len(_KEYS)]
    lines = [_line(key, value) for key, value in zip(_KEYS, own, strict=True)]
    lines += [_line(SOURCE_KEY, each) for each in trailers.source_keys]
    lines += [f"{AUTHOR}: {each}" for each in map(_plain, trailers.authors)]
    return "\n".join((subject, "", *lines)) + "\n"


def _plain(author: str) -> str:
    """On one line, whatever somebody calls themselves in a commit. Of a long name so much that the address stays."""
    line = " ".join("".join(c if c.isprintable() else " " for c in author).split())
    name, address = person(line)
    return (f"{name[:MOST_NAME]} <{address[:MOST_ADDRESS]}>" if name or address else line[:MOST_NAME]) or "unknown"


def _line(key: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise FormatError(f"{key} must be printable ASCII without blanks, not {value!r}", path=_MESSAGE)
    return f"{key}: {value}"


def parse(message: str) -> Trailers | None:
    """The trailers of a message; None when it carries none of ours. FormatError when some are missing or doubled."""
    every = pairs(message)
    found = [(key, value) for key, value in every if key in _KEYS]
    if not found:
        return None
    values = dict(found)
    if len(values) != len(found):
        raise FormatError("a trailer of ours stands there twice", path=_MESSAGE)
    if missing := [key for key in _KEYS if key not in values]:
        raise FormatError(f"the trailers {', '.join(missing)} are missing", path=_MESSAGE)
    authors, keys = (tuple(value for key, value in every if key == name) for name in (AUTHOR, SOURCE_KEY))
    source, commit, run, evidence, component = (values[key] for key in _KEYS)
    return Trailers(source, commit, run, evidence, component, authors, keys)


def pairs(message: str) -> tuple[tuple[str, str], ...]:
    """Key and value of every trailer: the lines of the last paragraph, when all of them have that form."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", message.strip("\n"))
    if len(paragraphs) < 2:
        return ()
    found = [_TRAILER.fullmatch(line) for line in paragraphs[-1].split("\n")]
    return tuple((each[1], each[2]) for each in found if each) if all(found) else ()
