"""When a run last compared an environment with its cluster: the time of a file in CD's state folder."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


def _path(state: Path, environment: str) -> Path:
    return state / "looked" / environment


def note(state: Path, environment: str) -> None:
    """Now. A full disk costs a run too many, nothing else."""
    with suppress(OSError):
        path = _path(state, environment)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)


def seconds_ago(state: Path, environment: str) -> float | None:
    """None when there was no run yet. A clock that was set back makes it none too."""
    try:
        age = time.time() - _path(state, environment).stat().st_mtime
    except OSError:
        return None
    return age if age >= 0 else None
