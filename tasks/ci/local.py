"""A developer's own folder, read as CI would read its commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

from interlock.contract import layout
from interlock.errors import FormatError, GitError, InputError, ParameterError
from tasks.ci.source import MOST_COMMITS, Checkout, History, described_in, write_history
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
    return Checkout(tree, scanned, described_in(tree), _history(folder, commit or "HEAD", tree, scanned, released))


def _copy_working(folder: Path, files: Files, *targets: Path) -> None:
    if not (folder / layout.APPLICATION_REPOSITORY).is_file():
        raise FormatError(
            "the file is missing",
            path=str(folder / layout.APPLICATION_REPOSITORY),
            hint=_missing(folder),
        )
    names = _names(folder, files)
    for target in targets:
        _copy(folder, names, target)


def _missing(folder: Path) -> str:
    if (folder / layout.ENVIRONMENTS).is_file():
        return "this is an environment repository: `interlock render --check` checks it"
    return "`interlock init application` writes one"


def _names(folder: Path, files: Files) -> list[str]:
    """Every file when the folder is in no git repository."""
    more = ("--others", "--exclude-standard") if files is Files.ALL else ()
    listed = subprocess.run((*_LISTING, *more), cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    if listed.returncode == 0:
        return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]


def _export(folder: Path, commit: str, *targets: Path) -> None:
    """As CI checks it out: symlinks and submodules are refused."""
    found = _resolved(folder, commit)
    if found is None:
        raise ParameterError(f"{commit!r} is no commit of {folder}")
    entries = dict(_entries(_git(folder, "ls-tree", "-r", "-z", "--full-tree", found)))
    contents = _read_blobs(folder, sorted(set(entries.values())))
    for target in targets:
        for name, blob in entries.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(contents[blob])


def _entries(listing: bytes) -> Iterator[tuple[str, str]]:
    """Path and blob of each file."""
    for line in listing.split(b"\0")[:-1]:
        described, _, path = line.partition(b"\t")
        mode, _, blob = described.decode().split(" ")
        if mode not in {"100644", "100755"} or b".." in path.split(b"/"):
            hint = "CI builds no symlinks and submodules: replace it"
            raise InputError(f"{os.fsdecode(path)} is not a regular file", hint=hint)
        yield os.fsdecode(path), blob


def _history(folder: Path, commit: str, tree: Path, scanned: Path, released: Collection[str]) -> History:
    """None where there is no commit yet, or the folder is only a part of a repository."""
    head = _resolved(folder, commit)
    if head is None or _git(folder, "rev-parse", "--show-prefix").strip():
        return History()
    known = released or _git(folder, "for-each-ref", "--format=%(objectname)", "refs/remotes").decode().split()
    there = {_blob(path.read_bytes()) for path in tree.rglob("*") if path.is_file()}
    gone = {blob: name for blob, name in _additions(folder, head, known) if blob not in there}
    return write_history(scanned, gone, partial(_read_blobs, folder), unsearched="")


def _additions(folder: Path, head: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """What the commits in `head` and in none of `known` wrote, newest first: blob, and `path@commit`."""
    limits = "".join(f"^{each}\n" for each in known)
    ids = _git(
        folder,
        *("rev-list", "--topo-order", f"--max-count={MOST_COMMITS}", "--ignore-missing", "--stdin"),
        given=f"{head}\n{limits}".encode(),
    )
    compare = (
        "diff-tree",
        "--stdin",
        "-r",
        "-z",
        "--no-renames",
        "--no-abbrev",
        "--root",
        "--diff-merges=first-parent",
    )
    fields = iter(_git(folder, *compare, given=ids).split(b"\0"))
    commit = ""
    for text in fields:
        if text.startswith(b":"):
            _, mode, _, blob, _ = text.decode().split(" ")
            path = os.fsdecode(next(fields))
            if mode.startswith("100"):
                yield blob, f"{path}@{commit[:12]}"
        else:
            commit = text.decode().strip()


def _resolved(folder: Path, commit: str) -> str | None:
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    done = subprocess.run(("git", *asked), cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    """What the person's own git answers, in their own repository."""
    done = subprocess.run(("git", *words), cwd=folder, input=given, capture_output=True, check=False, timeout=_SECONDS)
    if done.returncode != 0:
        raise GitError(f"{folder}: git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _read_blobs(folder: Path, blobs: Sequence[str]) -> dict[str, bytes]:
    answer = _git(folder, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode())
    found: dict[str, bytes] = {}
    at = 0
    for blob in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split(b" ")[2])
        found[blob] = answer[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


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
