"""What must not be seen of a secret in a text that others read, such as a log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

MASK = "••••"
_URL_SAFE = str.maketrans("+/", "-_")
SHORTEST = 6
"""Shorter values are not looked for: they are words that a log has for other reasons."""


def parts(text: str) -> Iterator[str]:
    """A secret's whole value, its lines and what they name, the texts in it, and all as base64 and in addresses."""
    for part in {text, text.strip(), *_lines(text), *_texts(text)}:
        if len(part) >= SHORTEST:
            yield from _forms(part)


def forms(text: str) -> frozenset[str]:
    """The same, and each as it stands in the base64 of a longer text, such as `user:password`."""
    found = frozenset(parts(text))
    within = (piece for part in found for piece in _within(part))
    return found | {each for each in (*within, *_within_twice(text)) if len(each) >= SHORTEST}


def _within_twice(text: str) -> Iterator[str]:
    """Base64 within base64, as the Secret of a registry has `user:password`."""
    if len(text.strip()) >= SHORTEST:
        for piece in _within(text.strip()):
            yield from _within(piece)


def _forms(part: str) -> Iterator[str]:
    encoded = base64.b64encode(part.encode(errors="replace")).decode().rstrip("=")
    escaped = (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
    addresses = (_quoted(part, ""), _quoted(part, "/"), _quoted(part, " ").replace(" ", "+"))
    yield from {part, encoded, encoded.translate(_URL_SAFE), *escaped, *addresses}


def _quoted(part: str, kept: str) -> str:
    """As addresses have it (RFC 3986), without what is `kept` beside letters, digits and `_.-~`."""
    return "".join(c if c in kept or (c.isascii() and (c.isalnum() or c in "_.-~")) else _percent(c) for c in part)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))


def _within(part: str) -> Iterator[str]:
    """What base64 makes of it behind one or two other bytes, without the characters that the others have a share in."""
    for ahead in (0, 1, 2):
        content = b"\0" * ahead + part.encode(errors="replace")
        whole = base64.b64encode(content).decode()[(0, 2, 3)[ahead] : len(content) * 8 // 6]
        yield whole
        yield whole.translate(_URL_SAFE)


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
