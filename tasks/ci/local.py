"""A developer's own folder, read as CI would read its commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from interlock.contract import layout
from interlock.contract.application import read_application
from interlock.errors import FormatError, InputError
from tasks.ci.source import Checkout
from tasks.common.effect import effect

_SECONDS = 60
_LISTING = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


@effect(name="copy the folder")
def copy_folder(folder: Path, work: Path) -> Checkout:
    """The files that a commit of everything here would have, copied twice, and what interlock.yaml says."""
    if not (folder / layout.APPLICATION_REPOSITORY).is_file():
        raise FormatError(
            "the file is missing",
            path=str(folder / layout.APPLICATION_REPOSITORY),
            hint="`interlock init application` writes one",
        )
    files = _files(folder)
    tree, scanned = work / "tree", work / "scanned"
    for target in (tree, scanned / "source"):
        _copy(folder, files, target)
    return Checkout(tree, scanned, read_application((tree / layout.APPLICATION_REPOSITORY).read_text()))


def _files(folder: Path) -> list[str]:
    """Tracked, and new without being ignored; every file when the folder is in no git repository."""
    listed = subprocess.run(_LISTING, cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    if listed.returncode == 0:
        return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]


def _copy(folder: Path, files: Iterable[str], target: Path) -> None:
    for name in files:
        source = folder / name
        if source.is_symlink() or (source.exists() and not source.is_file()):
            raise InputError(f"{source} is not a regular file", hint="CI builds no symlinks and submodules: replace it")
        if source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
