"""Spans of time as people write them in annotations: `90s`, `10m`, `1h30m`."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
MOST_SECONDS = 86_400


def seconds(text: str) -> int:
    """How many seconds it is, from 1 to a day; ValueError for anything else."""
    found = _FORM.fullmatch(text)
    hours, minutes, rest = (int(part or 0) for part in (found.groups() if found else ("", "", "")))
    total = 3600 * hours + 60 * minutes + rest
    if not 1 <= total <= MOST_SECONDS:
        raise ValueError(f"{text!r} is no time from 1s to 24h")
    return total
