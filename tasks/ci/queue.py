"""A queue of this host's writers: first come, first served, and whoever dies leaves it by that."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_GUARD = ".guard"


@contextlib.contextmanager
def queued(state: Path) -> Iterator[Callable[[], bool]]:
    """Stand in the queue until the block ends. What is given says whether it is our turn.

    A place is a file with a number, locked by who stands there; the kernel frees the lock of a process that is gone.
    """
    folder = state / "queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _guarded(folder):
        place = folder / f"{_last(folder) + 1:020d}"
        lock = _lock(place)
    try:
        yield lambda: _is_first(folder, place)
    finally:
        with _guarded(folder):
            place.unlink(missing_ok=True)
            os.close(lock)


def _is_first(folder: Path, place: Path) -> bool:
    with _guarded(folder):
        for each in _places(folder):
            if each == place:
                return True
            try:
                lock = _lock(each)
            except BlockingIOError:
                return False
            each.unlink()  # who stood there is gone
            os.close(lock)
    return True  # somebody removed our file: nobody is before us


def _places(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name.isdecimal())


def _last(folder: Path) -> int:
    return max((int(each.name) for each in _places(folder)), default=0)


def _lock(path: Path) -> int:
    """BlockingIOError when somebody holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    return file


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    guard = os.open(folder / _GUARD, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)
