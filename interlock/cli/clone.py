"""The environment repository in a person's own clone: nothing of it is verified here, and every command says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import git

from interlock.contract import layout
from interlock.contract.commit import Change, RawCommit
from interlock.contract.tree import Tree
from interlock.errors import FormatError, GitError, InputError

_NO_BLOB = "0" * 40


@contextmanager
def opened(folder: Path, *, named: str = "--repository DIR") -> Iterator[git.Repo]:
    """The clone that a folder is in; `named`: how the command line names it, for the error."""
    try:
        with git.Repo(folder, search_parent_directories=True) as repository:
            yield repository
    except git.InvalidGitRepositoryError:
        raise InputError(f"{folder}: no git repository", hint=f"name a clone with {named}") from None
    except git.NoSuchPathError:
        raise InputError(f"{folder}: there is no such folder") from None


def read(folder: Path, revision: str | None, *, named: str = "--repository DIR") -> Tree:
    """The files of a commit; without one, the files as they lie there, without what git ignores."""
    with opened(folder, named=named) as repository:
        try:
            return _working_files(repository) if revision is None else _committed(repository, revision)
        except git.GitCommandError as error:
            raise InputError(f"{folder}: git: {said(error)}") from error


def root(folder: Path) -> Path:
    """Where the clone's files lie."""
    with opened(folder) as repository:
        return Path(repository.working_dir)


def fetch(url: str, folder: Path) -> None:
    """Clone the newest commit of an address into an empty folder, with the person's own git and credentials."""
    if not url.startswith(("http://", "https://", "ssh://")):
        raise InputError(f"{url}: neither a folder nor an http, https or ssh address")
    try:
        git.Repo.clone_from(url, folder, depth=1, no_checkout=True).close()
    except git.GitCommandError as error:
        raise GitError(f"{url}: git clone failed: {said(error)}") from error


def commit(folder: Path, path: str, data: bytes, *, message: str) -> str:
    """Write one file and commit just it, signed with the person's own key; the commit's id. Nothing is pushed."""
    with opened(folder) as repository:
        try:
            if repository.is_dirty(path=path):
                raise InputError(f"{path} has changes that are not committed", hint="commit or discard them first")
            Path(repository.working_dir, path).write_bytes(data)
            repository.git.commit("--gpg-sign", "--quiet", f"--message={message}", "--", path)
            return str(repository.head.commit.hexsha)
        except git.GitCommandError as error:
            hint = f"{path} is written; mend git's settings (user.signingkey, gpg.format) and commit it"
            raise GitError(f"{folder}: git commit failed: {said(error)}", hint=hint) from error


def said(error: git.GitCommandError) -> str:
    """git's last complaint; GitPython wraps all that it said in quotes."""
    text = re.sub(r"^\s*stderr: '|'\s*$", "", str(error.stderr or ""))
    complaints = re.findall(r"^(?:fatal|error): (.+)$", text, re.MULTILINE) or text.split("\n")
    spoken = [line.strip() for line in complaints if line.strip()]
    return spoken[-1] if spoken else f"exit code {error.status}"


def _working_files(repository: git.Repo) -> Tree:
    root = Path(repository.working_dir)
    listed = repository.git.ls_files("--cached", "--others", "--exclude-standard", "-z").split("\0")
    present = [path for path in listed if path and ((root / path).is_symlink() or (root / path).exists())]
    for path in present:
        if not (root / path).is_file() or (root / path).is_symlink():
            raise _not_a_file(path)
    return Tree.of({path: (root / path).read_bytes() for path in present})


def _committed(repository: git.Repo, revision: str) -> Tree:
    try:
        commit = repository.commit(revision)
    except (git.BadName, ValueError):
        raise InputError(f"--commit {revision}: there is no such commit in {repository.working_dir}") from None
    files: dict[str, bytes] = {}
    for item in commit.tree.traverse():
        if isinstance(item, git.Submodule) or (isinstance(item, git.Blob) and item.mode == git.Blob.link_mode):
            raise _not_a_file(str(item.path))
        if isinstance(item, git.Blob):
            files[str(item.path)] = item.data_stream.read()
    return Tree.of(files, commit=commit.hexsha)


def _not_a_file(path: str) -> FormatError:
    return FormatError("a symlink or submodule, which is refused", path=path, hint="replace it by a plain file")


@dataclass(frozen=True)
class Judged:
    """A commit as git has it, and what the rules read of it and of its parent."""

    raw: RawCommit
    parent: Tree
    """The trust files of its first parent."""
    tree: str
    """The parent's tree."""
    now: Tree
    """The trust files of the branch that is checked out."""
    blobs: Mapping[str, bytes]


def judged(folder: Path, revision: str) -> Judged:
    """What the rules of trust read of one commit."""
    with opened(folder) as repository:
        try:
            commit = repository.commit(revision)
        except (git.BadName, ValueError):
            raise InputError(f"{revision}: there is no such commit in {folder.absolute()}") from None
        return _judged(repository, commit)


def descending(folder: Path, commit: str, names: Iterable[str]) -> frozenset[str]:
    """Those of the commits that are this one or come after it."""
    with opened(folder) as repository:
        first = repository.commit(commit)
        found = {name: repository.commit(name) for name in names if _exists(repository, name)}
        return frozenset(name for name, each in found.items() if repository.is_ancestor(first, each))


def _exists(repository: git.Repo, name: str) -> bool:
    try:
        repository.commit(name)
    except (git.BadName, ValueError):
        return False
    return True


def _judged(repository: git.Repo, commit: git.Commit) -> Judged:
    if not commit.parents:
        raise InputError(
            f"{commit.hexsha[:12]} is the first commit: it has no parent whose signers could judge it",
            hint="hosts trust it by the root pin in their files",
        )
    parent = commit.parents[0]
    trust = trust_files(parent)
    if layout.SIGNERS not in trust.files:
        raise InputError(
            f"{repository.working_dir}: {parent.hexsha[:12]} has no {layout.SIGNERS}",
            hint="name a clone of the environment repository with --repository DIR",
        )
    raw, blobs = raw_commit(repository, commit)
    return Judged(raw, trust, parent.tree.hexsha, trust_files(repository.head.commit), blobs)


def raw_commit(repository: git.Repo, commit: git.Commit) -> tuple[RawCommit, Mapping[str, bytes]]:
    """A commit that has a parent, with what it changes against the first, and the bytes of both sides."""
    found = commit.parents[0].diff(commit, no_renames=True)
    sides = [side for each in found for side in (each.a_blob, each.b_blob) if isinstance(side, git.Blob)]
    blobs = {side.hexsha: side.data_stream.read() for side in sides if side.mode != git.Submodule.k_default_mode}
    data: bytes = repository.odb.stream(commit.binsha).read()
    return RawCommit(commit.hexsha, data, tuple(map(_change, found))), blobs


def _change(found: git.Diff) -> Change:
    old, new = (f"{mode or 0:06o}" for mode in (found.a_mode, found.b_mode))
    blobs = (side.hexsha if side else _NO_BLOB for side in (found.a_blob, found.b_blob))
    path = found.b_rawpath or found.a_rawpath or b""
    return Change(path.decode(errors="surrogateescape"), old, new, *blobs)


def trust_files(commit: git.Commit) -> Tree:
    """The two files that say who may do what, as far as a commit has them."""
    files: dict[str, bytes] = {}
    for path in (layout.SIGNERS, layout.BINDINGS):
        with suppress(KeyError):
            found = commit.tree / path
            if isinstance(found, git.Blob):
                files[path] = found.data_stream.read()
    return Tree.of(files, commit=commit.hexsha)
