"""The application repository: which commit is built, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interlock.ci.host import CiHost
from interlock.ci.searchable import readable, text
from interlock.ci.targets import Relation
from interlock.contract import commit as commits
from interlock.contract import layout, signature, source_rule, trailers
from interlock.contract.application import missing, read_committed
from interlock.contract.attesters import Attester
from interlock.contract.commit import committed
from interlock.contract.models import ApplicationRepositoryFile
from interlock.errors import Blocked, ParameterError, Refused
from tasks.common import git
from tasks.common.effect import effect

MOST_COMMITS = 5_000
MOST_AUTHORS = 1_000
"""A release's commit names all of them, and stays of a length that is read."""
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
class Authors:
    """Who made what is new since the releases before, as the commits say: for whoever has to approve it."""

    people: tuple[str, ...] = ()
    """`name <address>`."""
    keys: tuple[str, ...] = ()
    """Fingerprints of the SSH keys that signed."""


@dataclass(frozen=True)
class Checkout:
    """The commit's files, twice: `tree` to build from, and `scanned`/source, which the scanner may change."""

    tree: Path
    scanned: Path
    file: ApplicationRepositoryFile
    history: History = field(default_factory=History)
    epoch: int | None = None
    """When the commit was made, in seconds since 1970."""
    authors: Authors = Authors()


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
        # A commit that the mirror does not hold was never on the branch, or was taken off it before this host looked.
        newer = git.has_commit(mirror, commit) and git.is_ancestor(mirror, head.commit, commit)
        return "newer" if newer else "diverged"

    return {commit: relation(commit) for commit in released}


@effect(name="verify the source commit", retries=1)
def require_signed(host: CiHost, head: Head, attester: Attester) -> str:
    """The fingerprint of the key that signed the head; Blocked, until somebody signs or the rule changes."""
    data = git.read_signed(_mirror(host, head.repository), head.commit).data
    try:
        return source_rule.signed_by(attester, head.commit, data)
    except Refused as refusal:
        raise Blocked(
            f"{head.repository} {head.commit[:12]} is not released", reasons=(refusal.message,), hint=refusal.hint
        ) from refusal


@effect(name="check out", retries=1)
def check_out(host: CiHost, head: Head, folder: Path, *, released: Iterable[str] = ()) -> Checkout:
    """The commit's files in new folders, and what its interlock.yaml says.

    Beside them the texts that commits wrote since those that are `released`, and that are gone again.
    """
    mirror = _mirror(host, head.repository)
    tree, scanned = folder / "tree", folder / "scanned"
    git.export(mirror, head.commit, tree, scanned / "source")
    try:
        described = described_in(tree)
    except FileNotFoundError:
        raise missing(head.repository, head.commit) from None
    history = _history(mirror, head.commit, scanned, released)
    epoch = committed(git.read_commit(mirror, head.commit).data)
    return Checkout(tree, scanned, described, history, epoch, authors_since(mirror, head.commit, released))


def described_in(tree: Path) -> ApplicationRepositoryFile:
    """What the interlock.yaml of a source tree says; FileNotFoundError when it has none."""
    return read_committed((tree / layout.APPLICATION_REPOSITORY).read_bytes())


def authors_since(mirror: Path, head: str, released: Iterable[str]) -> Authors:
    """Of the commits that any of the released ones has not; before a first release of the newest commit alone."""
    older = [each for each in released if git.is_ancestor(mirror, each, head)]
    found = [raw for each in older for raw in git.read_line(mirror, each, head)] or [git.read_signed(mirror, head)]
    people, keys = set[str](), set[str]()
    for raw in found:
        message = raw.data.partition(b"\n\n")[2].decode(errors="replace")
        named = (value for key, value in trailers.pairs(message) if key.lower() == trailers.AUTHOR.lower())
        people |= {f"{name} <{address}>" for name, address in map(commits.person, (commits.author(raw.data), *named))}
        with suppress(Refused):  # a kind that we do not read; who made it is known by name, if at all
            keys |= {signature.maker(each) for each in (commits.parse(raw.data).signature,) if each}
    if max(len(people), len(keys)) > MOST_AUTHORS:
        raise Blocked(
            f"{head[:12]}: the commits since the last release name more than {MOST_AUTHORS:,} authors, or keys",
            hint="none of them may be left out: whoever may rewrite the branch takes out the commits that name so many",
        )
    return Authors(tuple(sorted(people)), tuple(sorted(keys)))


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
