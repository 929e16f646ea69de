"""The last lines of a container that crashed, fit for a page: bounded, without secrets, without control characters."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator

from interlock.cd.causes import printable
from interlock.cd.objects import Body
from interlock.cd.plan import MASK

LINES = 20
MOST_CHARACTERS = 4_000
"""Of the lines together."""
MOST_LINE = 400
SHORTEST = 6
"""Shorter values of Secrets are not looked for: they are words that a log has for other reasons."""


def secret_values(secrets: Iterable[Body]) -> frozenset[str]:
    """What must not be seen of these Secrets: every value, every line of it, and both as base64."""
    return frozenset(part for secret in secrets for text in _values(secret) for part in _parts(text))


def _values(secret: Body) -> Iterator[str]:
    for encoded in (secret.get("data") or {}).values():
        try:
            yield base64.b64decode(encoded).decode(errors="replace")
        except (binascii.Error, ValueError):
            yield str(encoded)


def _parts(text: str) -> Iterator[str]:
    for part in {text, text.strip(), *(line.strip() for line in text.splitlines())}:
        if len(part) >= SHORTEST:
            yield part
            yield base64.b64encode(part.encode()).decode().rstrip("=")


def excerpt(raw: bytes, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """The last lines of a log. Secrets are masked before anything is cut."""
    text = raw.decode(errors="replace")
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, MASK)
    lines = [printable(line.rstrip().expandtabs(4)) for line in text.split("\n") if line.strip()]
    found: list[str] = []
    left = MOST_CHARACTERS
    for line in reversed(lines[-LINES:]):
        cut = line if len(line) <= MOST_LINE else f"{line[: MOST_LINE - 1]}…"
        left -= len(cut)
        if left < 0:
            break
        found.append(cut)
    return tuple(reversed(found))
