"""A queue of this host's writers: first come, first served, and whoever dies leaves it by that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.common.file_lock import guarded, lock

_GUARD = ".guard"


@contextlib.contextmanager
def queued(state: Path) -> Iterator[Callable[[], bool]]:
    """Stand in the queue until the block ends. What is given says whether it is our turn.

    A place is a file with a number, locked by who stands there; the kernel frees the lock of a process that is gone.
    """
    folder = state / "queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with guarded(folder / _GUARD):
        place = folder / f"{_last(folder) + 1:020d}"
        held = lock(place)
    try:
        yield lambda: _is_first(folder, place)
    finally:
        with guarded(folder / _GUARD):
            place.unlink(missing_ok=True)
            os.close(held)


def _is_first(folder: Path, place: Path) -> bool:
    with guarded(folder / _GUARD):
        for each in _places(folder):
            if each == place:
                return True
            try:
                held = lock(each)
            except BlockingIOError:
                return False
            each.unlink()  # who stood there is gone
            os.close(held)
    return True  # somebody removed our file: nobody is before us


def _places(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name.isdecimal())


def _last(folder: Path) -> int:
    return max((int(each.name) for each in _places(folder)), default=0)
