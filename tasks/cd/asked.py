"""When something was last asked and answered, such as a forge: a file for each in CD's state folder."""

from __future__ import annotations

import time
from pathlib import Path

from tasks.common.whole_file import write_whole


def _path(state: Path, what: str) -> Path:
    return state / "asked" / what.replace("/", "%2F")


def note(state: Path, what: str) -> None:
    """It answered now."""
    write_whole(_path(state, what), b"")


def hours_ago(state: Path, what: str) -> float | None:
    """None when it never answered."""
    try:
        return max(0.0, time.time() - _path(state, what).stat().st_mtime) / 3600
    except OSError:
        return None
