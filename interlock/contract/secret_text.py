"""What must not be seen of a secret in a text that others read, such as a log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

MASK = "••••"
SHORTEST = 6
"""Shorter values are not looked for: they are words that a log has for other reasons."""


def parts(text: str) -> Iterator[str]:
    """A secret's whole value, its lines and what they name, the texts in it, and all as base64."""
    for part in {text, text.strip(), *_lines(text), *_texts(text)}:
        if len(part) >= SHORTEST:
            yield part
            yield base64.b64encode(part.encode()).decode().rstrip("=")


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without them, the longest first."""
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def _lines(text: str) -> Iterator[str]:
    """Each line, and what it gives a name to: `PASSWORD=…`, `password: …`."""
    for line in text.splitlines():
        yield line.strip()
        yield from (line.partition(mark)[2].strip(" \t'\",;") for mark in "=:" if mark in line)


def _texts(text: str) -> Iterator[str]:
    """Every text in a value that is JSON, such as a registry's password."""
    try:
        waiting: list[object] = [json.loads(text)] if text.lstrip()[:1] in {"{", "["} else []
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
