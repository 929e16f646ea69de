"""A folder for each run, and the sweeping of what killed runs left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.ci import images
from tasks.common.effect import effect, enough_of_the_host


@dataclass(frozen=True)
class Workspace:
    """`folder` is empty at first, and gone afterwards. `run` labels everything that the run makes elsewhere."""

    folder: Path
    run: str


@contextlib.contextmanager
def workspace(state: Path, run: str) -> Iterator[Workspace]:
    """A run's folder. Its file lock says that the run lives, also to other processes."""
    with enough_of_the_host("make workspace"):
        runs = _runs(state)
        with _guarded(runs):
            lock = _lock(runs / f"{run}.lock")
    folder = runs / run
    try:
        with enough_of_the_host("make workspace"):
            folder.mkdir(mode=0o700)
        yield Workspace(folder, run)
    finally:
        with _guarded(runs):
            shutil.rmtree(folder, ignore_errors=True)
            (runs / f"{run}.lock").unlink(missing_ok=True)
            os.close(lock)


@effect(name="sweep killed runs", retries=1)
def sweep(state: Path, docker: str) -> tuple[str, ...]:
    """Remove folders, containers and images of runs that no process holds any more; which runs those were."""
    runs = _runs(state)
    swept = []
    with _guarded(runs):
        for path in sorted(runs.glob("*.lock")):
            with contextlib.suppress(BlockingIOError):
                lock = _lock(path)
                try:
                    images.remove_left(docker, run=path.stem)
                    shutil.rmtree(runs / path.stem, ignore_errors=True)
                    path.unlink()
                    swept.append(path.stem)
                finally:
                    os.close(lock)
    return tuple(swept)


@contextlib.contextmanager
def turn(state: Path, repository: str) -> Iterator[bool]:
    """Whether no other run of this host works on the repository. If so, others are kept out until the block ends."""
    folder = state / "turns"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = _lock(folder / repository.replace("/", "%2F"))
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


def _runs(state: Path) -> Path:
    runs = state / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return runs


def _lock(path: Path) -> int:
    """Open and lock a file; BlockingIOError when somebody holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    return file


@contextlib.contextmanager
def _guarded(runs: Path) -> Iterator[None]:
    """One at a time makes, sweeps or removes; the name is not one that the sweep looks at."""
    guard = os.open(runs / ".guard", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)
