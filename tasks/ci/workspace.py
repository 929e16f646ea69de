"""A folder for each run, and the sweeping of what killed runs left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.ci import images
from tasks.common.effect import effect, enough_of_the_host
from tasks.common.file_lock import guarded, lock

_GUARD = ".guard"
"""Held by whoever makes, sweeps or removes; the name is not one that the sweep looks at."""


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
        with guarded(runs / _GUARD):
            held = lock(runs / f"{run}.lock")
    folder = runs / run
    try:
        with enough_of_the_host("make workspace"):
            folder.mkdir(mode=0o700)
        yield Workspace(folder, run)
    finally:
        with guarded(runs / _GUARD):
            shutil.rmtree(folder, ignore_errors=True)
            (runs / f"{run}.lock").unlink(missing_ok=True)
            os.close(held)


@effect(name="sweep killed runs", retries=1)
def sweep(state: Path, docker: str) -> tuple[str, ...]:
    """Remove folders, containers and images of runs that no process holds any more; which runs those were."""
    runs = _runs(state)
    swept = []
    with guarded(runs / _GUARD):
        for path in sorted(runs.glob("*.lock")):
            with contextlib.suppress(BlockingIOError):
                held = lock(path)
                try:
                    images.remove_left(docker, run=path.stem)
                    shutil.rmtree(runs / path.stem, ignore_errors=True)
                    path.unlink()
                    swept.append(path.stem)
                finally:
                    os.close(held)
    return tuple(swept)


@contextlib.contextmanager
def turn(state: Path, repository: str) -> Iterator[bool]:
    """Whether no other run of this host works on the repository. If so, others are kept out until the block ends."""
    folder = state / "turns"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        held = lock(folder / repository.replace("/", "%2F"))
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(held)


def _runs(state: Path) -> Path:
    runs = state / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return runs
