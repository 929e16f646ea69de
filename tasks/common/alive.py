"""A worker's sign of life: a file that is touched as long as the worker takes turns, and that anybody may look at."""

from __future__ import annotations

import time
from pathlib import Path

from interlock.errors import ToolError

BEAT_SECONDS = 5.0
_STALE_SECONDS = 60.0
_FILE = "alive"


def beat(state: Path) -> None:
    """Say that the worker lives."""
    (state / _FILE).touch(mode=0o600)


def require_alive(state: Path) -> float:
    """How many seconds ago the worker last said that it lives; ToolError when that is too long, or never was."""
    try:
        age = time.time() - (state / _FILE).stat().st_mtime
    except FileNotFoundError:
        raise ToolError(f"{state}: no worker has started here", hint="`interlock worker` does") from None
    if age > _STALE_SECONDS:
        raise ToolError(
            f"{state}: the worker gave no sign of life for {age:.0f} s", hint="see its log, and start it again"
        )
    return age
