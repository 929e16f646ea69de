"""The deny list of this host: a file of root's that is read before each deploy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from interlock.cd import deny
from interlock.cd.deny import DenyFile
from interlock.contract import commit as commits
from interlock.contract.manifest import Manifest
from interlock.errors import HostConfigError, Refused
from tasks.common import git, host
from tasks.common.environment_repository import VerifiedHead


def read(file: Path) -> DenyFile:
    """What is denied; nothing when there is no such file, HostConfigError when it is wrong or not root's alone."""
    try:
        there = file.exists()
    except OSError as error:
        raise HostConfigError(f"{file}: {error.strerror}", hint="CD's user must be able to read it") from error
    return host.load(DenyFile, file) if there else DenyFile(format=1)


def require_none(
    file: DenyFile, mirror: Path, head: VerifiedHead, manifests: Iterable[Manifest], *, environment: str
) -> None:
    """Refused (`denied`) when the head has a commit, its new commits a key, or its objects a digest of the list."""
    if not file.denied:
        return
    deny.require_keys(file, head.new_commits, environment=environment)
    for commit, denied in file.having("commit").items():
        if _is_in(mirror, commit, head.commit):
            now = {entry.path: entry.blob for entry in git.list_files(mirror, head.commit)}
            deny.require_commit(
                denied, changes=_changes(mirror, commit), now=now, head=head.commit, environment=environment
            )
    deny.require_digests(file, manifests, environment=environment)


def _is_in(mirror: Path, denied: str, head: str) -> bool:
    """Whether the head has the commit, or the same one with its signature written in another form: by another id."""
    if not git.has_commit(mirror, denied):
        return False
    if git.is_ancestor(mirror, denied, head):
        return True
    named = commits.parse(git.read_signed(mirror, denied).data)
    parent = named.parents[0] if named.parents else ""
    if not parent or not git.is_ancestor(mirror, parent, head):
        return False
    first = next(git.read_line(mirror, parent, head), None)
    return first is not None and commits.parse(first.data).payload == named.payload


def _changes(mirror: Path, commit: str) -> tuple[commits.Change, ...]:
    """What a commit changed against its parent; all of its files when it is the first."""
    alone = git.read_commit(mirror, commit)
    parents = commits.parse(alone.data).parents
    if not parents:
        return alone.changes
    for each in git.read_commits(mirror, parents[0], commit):
        if each.id == commit:
            return each.changes
    raise Refused(f"{commit[:12]} is not a commit of this repository", rule="rewritten")
