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


# bases -----------------------------------------------------------------------------------------------

_FROM = re.compile(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_OPTIONS = re.compile(r"\s*(?:COPY|RUN)((?:\s+--\S+)+)\s.*", re.IGNORECASE)
_TAKEN = re.compile(r"(?:--|[,=])from=([^\s,]+)", re.IGNORECASE)
_ARG = re.compile(r"\s*ARG\s+(\w+)=(\S*)\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_IMAGE = re.compile(r"[A-Za-z0-9._/:@-]+")
_DOUBTFUL = re.compile(r"\s*FROM\b|[^#]*[-,=\s]from=", re.IGNORECASE)
_SYNTAX = re.compile(r"^#\s*syntax\s*=", re.IGNORECASE | re.MULTILINE)


def base_images(text: str) -> tuple[str, ...]:
    """The names of the images that a build takes something from, in order, with the arguments that have a default.

    Of FROM, COPY --from and RUN --mount; a stage is none, once it has begun.
    """
    arguments = {found[1]: found[2].strip("\"'") for found in map(_ARG.fullmatch, _lines(text)) if found}
    return _named(text, arguments)


def bases(text: str) -> tuple[str, ...] | None:
    """The same, only where the text alone decides; None where a variable, a frontend or a continued line does."""
    found = _named(text, {})
    unread = (line for line in _lines(text) if not _names(line) and not line.lstrip().startswith("#"))
    sure = all(map(_IMAGE.fullmatch, found)) and not any(map(_DOUBTFUL.match, unread))
    return found if sure and not _SYNTAX.search(text) else None


def repository_of(name: str) -> str:
    """An image's name without tag and digest."""
    place, slash, last = name.partition("@")[0].rpartition("/")
    return f"{place}{slash}{last.partition(':')[0]}"


def _lines(text: str) -> list[str]:
    return text.removeprefix("\ufeff").splitlines()


def _named(text: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    stages = {"scratch"}
    found: dict[str, None] = {}
    for line in _lines(text):
        names = (_filled(name, arguments) for name in _names(line))
        found |= dict.fromkeys(name for name in names if name.lower() not in stages and not name.isdigit())
        if (begun := _FROM.fullmatch(line)) and begun[2]:
            stages.add(begun[2].lower())
    return tuple(found)


def _names(line: str) -> list[str]:
    """The images and stages that one line takes something from."""
    if begun := _FROM.fullmatch(line):
        return [begun[1]]
    options = _OPTIONS.fullmatch(line)
    return _TAKEN.findall(options[1]) if options else []


def _filled(name: str, arguments: Mapping[str, str]) -> str:
    """With the arguments that are known; others stay as they are."""
    return _VARIABLE.sub(lambda found: arguments.get(found[1] or found[2], found[0]), name)
