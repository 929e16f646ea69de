"""Patterns of paths, in a time that grows with their length alone, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

_WORDS = re.compile(r"(\*\*/|\*\*|\*|\?)")


def matches(pattern: str, path: str) -> bool:
    """`*` is anything within a folder, `**` anything, `**/` any folders or none, `?` one character but no slash.

    All places of the path that the pattern can have reached are followed at once: a regular expression would try one
    after another, and with many stars never come to an end.
    """
    at: Collection[int] = {0}
    for word in _words(pattern):
        at = _after(word, path, at)
        if not at:
            return False
    return len(path) in at


@lru_cache(maxsize=1024)
def _words(pattern: str) -> tuple[str, ...]:
    return tuple(word for word in _WORDS.split(pattern) if word)


def _after(word: str, path: str, at: Collection[int]) -> Collection[int]:
    """The places that are reached with one more word."""
    match word:
        case "**":
            return range(min(at), len(path) + 1)
        case "**/":
            first = min(at)
            return {*at, *(place + 1 for place in range(first, len(path)) if path[place] == "/")}
        case "*":
            return _within_folder(path, at)
        case "?":
            return {place + 1 for place in at if place < len(path) and path[place] != "/"}
        case _:
            return {place + len(word) for place in at if path.startswith(word, place)}


def _within_folder(path: str, at: Collection[int]) -> Collection[int]:
    reached = set(at)
    for place in range(min(at), len(path)):
        if place in reached and path[place] != "/":
            reached.add(place + 1)
    return reached
