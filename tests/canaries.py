"""Looking for secrets where nobody may find them: in arguments and environments of processes, and in git's objects."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from interlock.contract.secret_text import forms

Canaries = Mapping[str, str]
"""Secrets by a name that may be told."""


def standing_in(content: bytes, canaries: Canaries) -> Iterator[str]:
    """The names of those that stand there, in whatever form."""
    for name, text in canaries.items():
        if any(each in content for each in _needles(text)):
            yield name


@cache
def _needles(text: str) -> frozenset[bytes]:
    return frozenset(each.encode() for each in forms(text))


@contextmanager
def watched_processes(
    canaries: Canaries, *, passes: Callable[[str, Path], bool] = lambda *_: False
) -> Iterator[set[str]]:
    """Looks at arguments and environment of every process, again and again while the block runs.

    `passes` says of which canary, by its name, one of these files may tell.
    """
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for file in (each for name in ("cmdline", "environ") for each in Path("/proc").glob(f"[0-9]*/{name}")):
                named = (name for name in standing_in(_read(file), canaries) if not passes(name, file))
                found.update(f"{name} in {file.name}" for name in named)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join(30)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it ended, or is not to be looked into
        return b""


def found_in_git(folders: Iterable[Path], canaries: Canaries) -> list[str]:
    """In any object of these bare repositories."""
    found = []
    for folder in folders:
        command = ("git", "-c", "safe.directory=*", f"--git-dir={folder}", "cat-file", "--batch", "--batch-all-objects")
        content = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
        found += [f"{name} in {folder}" for name in standing_in(content, canaries)]
    return found
