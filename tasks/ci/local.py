"""A developer's own folder, read as CI would read its commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from interlock.contract import layout
from interlock.contract.application import read_application
from interlock.errors import FormatError, InputError, ParameterError
from tasks.ci.source import Checkout
from tasks.common import git
from tasks.common.effect import effect

_SECONDS = 60
_LISTING = ("git", "ls-files", "-z", "--cached")


class Files(StrEnum):
    """Which files of a working copy count."""

    ALL = "all"
    """Those that a commit of everything would have: tracked, and new without being ignored."""
    TRACKED = "tracked"
    """Those that git knows already, as they lie there."""


@effect(name="copy the folder")
def copy_folder(folder: Path, work: Path, *, files: Files = Files.ALL, commit: str | None = None) -> Checkout:
    """The files of the working copy, or of a commit, copied twice, and what interlock.yaml says."""
    tree, scanned = work / "tree", work / "scanned"
    if commit:
        _export(folder, commit, tree, scanned / "source")
    else:
        _copy_working(folder, files, tree, scanned / "source")
    if not (tree / layout.APPLICATION_REPOSITORY).is_file():
        raise FormatError(
            "the file is missing",
            path=str(folder / layout.APPLICATION_REPOSITORY),
            hint="`interlock init application` writes one; git must know it",
        )
    return Checkout(tree, scanned, read_application((tree / layout.APPLICATION_REPOSITORY).read_text()))


def _copy_working(folder: Path, files: Files, *targets: Path) -> None:
    if not (folder / layout.APPLICATION_REPOSITORY).is_file():
        raise FormatError(
            "the file is missing",
            path=str(folder / layout.APPLICATION_REPOSITORY),
            hint="`interlock init application` writes one",
        )
    names = _names(folder, files)
    for target in targets:
        _copy(folder, names, target)


def _names(folder: Path, files: Files) -> list[str]:
    """Every file when the folder is in no git repository."""
    more = ("--others", "--exclude-standard") if files is Files.ALL else ()
    listed = subprocess.run((*_LISTING, *more), cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    if listed.returncode == 0:
        return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]


def _export(folder: Path, commit: str, *targets: Path) -> None:
    """As CI checks it out: symlinks and submodules are refused."""
    asked = ("git", "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}", "--absolute-git-dir")
    found = subprocess.run(asked, cwd=folder, capture_output=True, check=False, timeout=_SECONDS, text=True)
    if found.returncode != 0:
        raise ParameterError(f"{commit!r} is no commit of {folder}")
    name, git_dir = found.stdout.splitlines()
    for target in targets:
        git.export(Path(git_dir), name, target)


def _copy(folder: Path, files: Iterable[str], target: Path) -> None:
    for name in files:
        source = folder / name
        if source.is_symlink() or (source.exists() and not source.is_file()):
            raise InputError(f"{source} is not a regular file", hint="CI builds no symlinks and submodules: replace it")
        if source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
