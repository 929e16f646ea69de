"""Locks on files, which the kernel frees when their holder dies: nothing is left of a killed process but a name."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def lock(path: Path) -> int:
    """Open and lock a file, which is made where there is none; BlockingIOError when somebody holds it."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    return file


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """The lock for the length of a block, waited for."""
    guard = _open(path)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
