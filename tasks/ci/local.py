"""A developer's own folder, read as CI would read its commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path

from interlock.contract import layout
from interlock.contract.application import read_application
from interlock.errors import FormatError, InputError, ParameterError
from tasks.ci.source import Checkout, History, write_history
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
def copy_folder(
    folder: Path,
    work: Path,
    *,
    files: Files = Files.ALL,
    commit: str | None = None,
    released: Collection[str] = (),
) -> Checkout:
    """The files of the working copy, or of a commit, copied twice, and what interlock.yaml says.

    Beside them the texts that commits wrote since those that are `released`, or without any since those that a remote
    is known to have, and that are gone again.
    """
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
    described = read_application((tree / layout.APPLICATION_REPOSITORY).read_text())
    return Checkout(tree, scanned, described, _history(folder, commit or "HEAD", tree, scanned, released))


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
    found = _asked(folder, "rev-parse", "--absolute-git-dir", *_commit(commit))
    if len(found) != 2:
        raise ParameterError(f"{commit!r} is no commit of {folder}")
    for target in targets:
        git.export(Path(found[0]), found[1], target)


def _history(folder: Path, commit: str, tree: Path, scanned: Path, released: Collection[str]) -> History:
    """None where there is no commit yet, or the folder is only a part of a repository."""
    found = _asked(folder, "rev-parse", "--absolute-git-dir", *_commit(commit))
    if len(found) != 2 or any(_asked(folder, "rev-parse", "--show-prefix")):
        return History()
    known = released or _asked(folder, "for-each-ref", "--format=%(objectname)", "refs/remotes")
    there = {_blob(path.read_bytes()) for path in tree.rglob("*") if path.is_file()}
    return write_history(Path(found[0]), found[1], scanned, known, there=there)


def _commit(name: str) -> tuple[str, ...]:
    return "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"


def _asked(folder: Path, *words: str) -> list[str]:
    """The lines that git answers; none when it does not."""
    done = subprocess.run(
        ("git", *words), cwd=folder, capture_output=True, check=False, timeout=_SECONDS, encoding="utf-8"
    )
    return done.stdout.splitlines() if done.returncode == 0 else []


def _blob(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _copy(folder: Path, files: Iterable[str], target: Path) -> None:
    for name in files:
        source = folder / name
        if source.is_symlink() or (source.exists() and not source.is_file()):
            raise InputError(f"{source} is not a regular file", hint="CI builds no symlinks and submodules: replace it")
        if source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
