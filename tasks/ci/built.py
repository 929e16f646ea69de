"""Which images this host has built, sealed: a registry's tag and an image's labels can be anybody's."""

from __future__ import annotations

from pathlib import Path

from tasks.ci.kept import Kept


def note(state: Path, repository: str, *, key: str, image_id: str) -> None:
    """Where it cannot be written, the next run builds once more."""
    kept = _kept(state, repository)
    kept.write(kept.name(key), image_id.encode())


def is_built_here(state: Path, repository: str, *, key: str, image_id: str) -> bool:
    """Whether this host has built just this image from the inputs that the key stands for."""
    kept = _kept(state, repository)
    return kept.read(kept.name(key)) == image_id.encode()


def _kept(state: Path, repository: str) -> Kept:
    return Kept(state / "built", repository)
