"""What a Dockerfile may not ask of the daemon, and which images it stands on.

Its RUN steps have no network, but ADD fetches by the daemon itself. Builders differ in comments, escapes and continued
lines, so this reads more as an ADD than any of them does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from interlock.errors import FormatError

_CONTINUED = re.compile(r"[\\`]\s*$")
_ADD = re.compile(r"\s*(?:ONBUILD\s+)*ADD(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_CUT = re.compile(r"\s*(?:ONBUILD\s+)*(?:A|AD|ADD|O|ON|ONB|ONBU|ONBUI|ONBUIL|ONBUILD)[\\`]\s*", re.IGNORECASE)
"""A continued line that may begin the word, of which the next line has the rest."""
_PLAIN = re.compile(r"[A-Za-z0-9_./*?,+@\s-]*")
"""No colon, so no address; no quote, escape or variable, out of which the builder could make one."""


def require_local(text: str, *, path: str) -> None:
    """FormatError when an ADD could fetch from the network; one of plain paths in the context is fine."""
    lines = text.removeprefix("\ufeff").split("\n")
    for index, line in enumerate(lines):
        added = _ADD.fullmatch(line)
        if _CUT.fullmatch(line) or (added and not _is_plain((added[1] or "") + _continuation(lines, index))):
            raise FormatError(
                "ADD may only name plain paths of the context: an address would be fetched by the Docker daemon, "
                "with its host's network",
                path=path,
                line=index + 1,
                hint="use COPY; what comes from elsewhere belongs into the repository or the base image",
            )


_FROM = re.compile(r"\s*FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_COPY_FROM = re.compile(r"(?:--from|[,\s]from)=([^\s,]+)", re.IGNORECASE)
_IMAGE = re.compile(r"[A-Za-z0-9._/:@-]+")
_SYNTAX = re.compile(r"^#\s*syntax\s*=", re.IGNORECASE | re.MULTILINE)


def bases(text: str) -> tuple[str, ...] | None:
    """The images that a Dockerfile takes something from; None when a variable or a frontend decides on them."""
    stages: set[str] = {"scratch"}
    found: dict[str, None] = {}
    for line in text.splitlines():
        begins = _FROM.fullmatch(line)
        if re.match(r"\s*FROM\b", line, re.IGNORECASE) and begins is None:
            return None
        for name in [begins[1]] if begins else _COPY_FROM.findall(line):
            if name.lower() not in stages and not name.isdigit():
                found[name] = None
        if begins and begins[2]:
            stages.add(begins[2].lower())
    return tuple(found) if all(map(_IMAGE.fullmatch, found)) and not _SYNTAX.search(text) else None


def _continuation(lines: list[str], index: int) -> str:
    """The lines that a builder may join to this one, comments and blank lines in between included."""
    found = ""
    while index + 1 < len(lines) and (_CONTINUED.search(lines[index]) or (found and _is_passed_over(lines[index]))):
        index += 1
        found += "\n" + lines[index]
    return found


def _is_passed_over(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _is_plain(arguments: str) -> bool:
    joined = " ".join(_CONTINUED.sub("", line) for line in arguments.split("\n")).strip()
    while flag := re.match(r"--[a-z]+(=\S*)?\s+", joined):
        joined = joined[flag.end() :]
    if joined.startswith("["):
        try:
            joined = " ".join(json.loads(joined))
        except (ValueError, TypeError, RecursionError):
            return False
    return _PLAIN.fullmatch(joined) is not None


_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_COPY = re.compile(r"COPY\s+(?:--\S+\s+)*--from=(\S+)\s.*", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(\w+)=(\S*)\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def base_images(text: str) -> tuple[str, ...]:
    """The names of the images that a build takes something from, in order: FROM and COPY --from, stages left out."""
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    found: dict[str, None] = {}
    for line in (each.strip() for each in text.removeprefix("\ufeff").splitlines()):
        if argument := _ARG.fullmatch(line):
            arguments[argument[1]] = argument[2].strip("\"'")
        elif begun := _FROM.fullmatch(line):
            found[_filled(begun[1], arguments)] = None
            stages.add((begun[2] or "").lower())
        elif copied := _COPY.fullmatch(line):
            found[_filled(copied[1], arguments)] = None
    own = {*stages, "scratch"}
    return tuple(name for name in found if name.lower() not in own and not name.isdigit())


def _filled(name: str, arguments: Mapping[str, str]) -> str:
    """With the arguments that stand above it; others stay as they are."""
    return _VARIABLE.sub(lambda found: arguments.get(found[1] or found[2], found[0]), name)
