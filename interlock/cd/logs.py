"""The last lines of a container that crashed, fit for a page: bounded, without secrets, without control characters."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator

from interlock.cd.causes import printable
from interlock.cd.objects import Body
from interlock.contract.secret_text import masked, parts

LINES = 20
MOST_CHARACTERS = 4_000
"""Of the lines together."""
MOST_LINE = 400
MOST_VALUES = 20_000
"""Looking for so many in a log takes seconds; who may write Secrets could make it hours."""


def secret_values(secrets: Iterable[Body]) -> frozenset[str] | None:
    """What must not be seen of these Secrets: every value, its lines and parts, and all as base64. None: too much."""
    found: set[str] = set()
    for part in (part for secret in secrets for text in _values(secret) for part in parts(text)):
        found.add(part)
        if len(found) > MOST_VALUES:
            return None
    return frozenset(found)


def _values(secret: Body) -> Iterator[str]:
    for encoded in (secret.get("data") or {}).values():
        try:
            yield base64.b64decode(encoded).decode(errors="replace")
        except (binascii.Error, ValueError):
            yield str(encoded)


def excerpt(raw: bytes, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """The last lines of a log. Secrets are masked before anything is cut."""
    text = masked(raw.decode(errors="replace"), secrets)
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
