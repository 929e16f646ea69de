"""The application repository: which commit is built, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interlock.ci.host import CiHost
from interlock.ci.searchable import readable, text
from interlock.ci.targets import Relation
from interlock.contract import layout
from interlock.contract.application import read_application
from interlock.contract.commit import committed
from interlock.contract.models import ApplicationRepositoryFile
from interlock.errors import FormatError, ParameterError
from tasks.common import git
from tasks.common.effect import effect

MOST_COMMITS = 5_000
_MOST_BYTES = 1 << 30
_BATCH = 200


@dataclass(frozen=True)
class Head:
    """The newest commit of a repository's protected branch. `note` says what became of the hint."""

    repository: str
    commit: str
    note: str = ""


@dataclass(frozen=True)
class History:
    """Texts that commits wrote and that are not in the newest tree any more.

    `names` has the files below `scanned` that hold them, and what people know them by: `path@commit`. `unsearched`
    says what was left out, when there is too much.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    unsearched: str = ""


@dataclass(frozen=True)
class Checkout:
    """The commit's files, twice: `tree` to build from, and `scanned`/source, which the scanner may change."""

    tree: Path
    scanned: Path
    file: ApplicationRepositoryFile
    history: History = field(default_factory=History)
    epoch: int | None = None
    """When the commit was made, in seconds since 1970."""


@effect(name="resolve branch", task_run_name="resolve {repository}", retries=3)
def resolve_head(host: CiHost, repository: str, hint: str | None) -> Head:
    """Fetch the protected branch of a registered repository. A hint that is not part of it is ignored with a note."""
    mirror = _mirror(host, repository)
    remote = host.repositories[repository]
    head = git.fetch(mirror, remote)
    if hint is None or hint == head:
        return Head(repository, head)
    if git.is_ancestor(mirror, hint, head):
        return Head(repository, head, f"{hint[:12]} was asked for; {head[:12]} is newer and is built")
    return Head(
        repository, head, f"{hint[:12]} was asked for, but is not on {remote.branch}; {head[:12]} is built instead"
    )


@effect(name="compare with what is released", retries=1)
def relate(host: CiHost, head: Head, released: Iterable[str]) -> Mapping[str, Relation]:
    """How each released commit relates to the head."""
    mirror = _mirror(host, head.repository)

    def relation(commit: str) -> Relation:
        if commit == head.commit:
            return "same"
        if git.is_ancestor(mirror, commit, head.commit):
            return "older"
        return "newer" if git.is_ancestor(mirror, head.commit, commit) else "diverged"

    return {commit: relation(commit) for commit in released}


@effect(name="check out", retries=1)
def check_out(host: CiHost, head: Head, folder: Path, *, released: Iterable[str] = ()) -> Checkout:
    """The commit's files in new folders, and what its interlock.yaml says.

    Beside them the texts that commits wrote since those that are `released`, and that are gone again.
    """
    mirror = _mirror(host, head.repository)
    tree, scanned = folder / "tree", folder / "scanned"
    git.export(mirror, head.commit, tree)
    git.export(mirror, head.commit, scanned / "source")
    try:
        described = (tree / layout.APPLICATION_REPOSITORY).read_bytes().decode()
    except FileNotFoundError:
        raise FormatError(
            f"{head.repository} {head.commit[:12]} has no such file",
            path=layout.APPLICATION_REPOSITORY,
            hint="`interlock init application` writes one",
        ) from None
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 at byte {error.start}", path=layout.APPLICATION_REPOSITORY) from None
    history = _history(mirror, head.commit, scanned, released)
    epoch = committed(git.read_commit(mirror, head.commit).data)
    return Checkout(tree, scanned, read_application(described), history, epoch)


def _history(mirror: Path, head: str, scanned: Path, released: Iterable[str]) -> History:
    additions, oldest = git.read_additions(mirror, head, known=released, most=MOST_COMMITS)
    there = {entry.blob for entry in git.list_files(mirror, head)}
    # The oldest commit that wrote a text counts: it comes last.
    gone = {each.blob: f"{each.path}@{each.commit[:12]}" for each in additions if each.blob not in there}
    unsearched = f"what was written before {oldest[:12]}" if oldest else ""
    return write_history(scanned, gone, partial(git.read_blobs, mirror), unsearched=unsearched)


def write_history(
    scanned: Path, gone: Mapping[str, str], read: Callable[[Sequence[str]], Mapping[str, bytes]], *, unsearched: str
) -> History:
    """Who pushes a secret and removes it in the next commit has published it all the same.

    `gone` has by their ids the texts that are not in the newest tree any more, and what people know them by.
    """
    names: dict[str, str] = {}
    written = 0
    for blobs in _batches(sorted(gone)):
        found = read(blobs)
        if len(found) < len(blobs):
            unsearched = f"a file of more than {git.MAX_FILE_BYTES >> 20} MiB"
        for blob, content in found.items():
            written += len(content)
            if written > _MOST_BYTES:
                return History(names, f"what is beyond {_MOST_BYTES >> 20} MiB")
            if readable_text := text(readable(content)):
                name = f"history/{len(names)}.txt"
                (scanned / "history").mkdir(mode=0o700, exist_ok=True)
                (scanned / name).write_bytes(readable_text)
                names[name] = gone[blob]
    return History(names, unsearched)


def _batches(blobs: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(blobs), _BATCH):
        yield blobs[start : start + _BATCH]


def _mirror(host: CiHost, repository: str) -> Path:
    if repository not in host.repositories:
        raise ParameterError(
            f"the repository {repository!r} is not registered on this host",
            hint="`interlock register` adds one; registered are " + (", ".join(host.repositories) or "none"),
        )
    return git.mirror_path(host.state, repository)
