"""What a Dockerfile may not ask of the daemon.

Its RUN steps have no network, but ADD fetches by the daemon itself. Builders differ in comments, escapes and continued
lines, so this reads more as an ADD than any of them does.
"""

from __future__ import annotations

import json
import re

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
        if _CUT.fullmatch(line) or (added and not is_plain((added[1] or "") + _continuation(lines, index))):
            raise refused_add(path, index + 1)


def refused_add(path: str, line: int) -> FormatError:
    return FormatError(
        "ADD may only name plain paths of the context: an address would be fetched by the Docker daemon, "
        "with its host's network",
        path=path,
        line=line,
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


def is_plain(arguments: str) -> bool:
    """Whether what follows an ADD can only be paths of the context."""
    joined = " ".join(_CONTINUED.sub("", line) for line in arguments.split("\n")).strip()
    while flag := re.match(r"--[a-z]+(=\S*)?\s+", joined):
        joined = joined[flag.end() :]
    if joined.startswith("["):
        try:
            joined = " ".join(json.loads(joined))
        except (ValueError, TypeError, RecursionError):
            return False
    return _PLAIN.fullmatch(joined) is not None
