"""The environment repository's head, fetched and verified: what CI and CD alike begin with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.contract import commit as commits
from interlock.contract import layout, strict_yaml, verification
from interlock.contract.approvals import MOST_BYTES as _APPROVAL_BYTES
from interlock.contract.attesters import AttestersFile, read_attesters
from interlock.contract.commit import RawCommit
from interlock.contract.health import HealthRules
from interlock.contract.host import EnvironmentRemote, RootPin
from interlock.contract.models import EnvironmentFile
from interlock.contract.repository import Repository, read, read_health, read_rules, read_waivers
from interlock.contract.tree import Tree
from interlock.contract.validation import Policy
from interlock.contract.verification import Point, Verified, Vouch, nobody_asks
from interlock.errors import InterlockError, Refused, Untrusted
from tasks.common import clock, git
from tasks.common.effect import effect
from tasks.common.squashes import Squashes

_TRUST_BYTES = 1 << 20
"""The largest trust file or release.yaml that is read."""
_RESCAN_BYTES = 8 << 20


@dataclass(frozen=True)
class VerifiedHead:
    """A commit that passed, its files, and the commits that were judged on the way to it, oldest first."""

    commit: str
    tree: Tree
    repository: Repository
    new_commits: tuple[Verified, ...]


@effect(name="fetch and verify the environment repository", retries=3)
def fetch_verified(
    remote: EnvironmentRemote, *, state: Path, since: str | None, known: VerifiedHead | None = None
) -> VerifiedHead:
    """Fetch the branch and judge every commit after `since`, the head verified last (None: from the root pin on).

    The files of a head that is `known` are not read again.
    """
    mirror = git.mirror_path(state, remote.name)
    today = clock.now(state).date()
    head = git.fetch(mirror, remote)
    vouch = Squashes(remote, state).vouch
    verified = verify(mirror, remote.root, head, since=since, today=today, vouch=vouch)
    if known and known.commit == head:
        return replace(known, new_commits=verified)
    return _read(mirror, head, verified)


def passes(remote: EnvironmentRemote, head: str, *, state: Path, since: str) -> bool:
    """Whether a commit of the mirror would be deployed after `since`: it is another one, verified and well-formed."""
    try:
        judged(git.mirror_path(state, remote.name), remote.root, head, since=since, vouch=Squashes(remote, state).vouch)
    except InterlockError:
        return False
    return head != since


def judged(
    mirror: Path,
    root: RootPin,
    head: str,
    *,
    since: str | None,
    today: dt.date | None = None,
    vouch: Vouch = nobody_asks,
) -> VerifiedHead:
    """A commit of the mirror as CD would take it: everything after `since` verified, and its files well-formed."""
    return _read(mirror, head, verify(mirror, root, head, since=since, today=today, vouch=vouch))


@effect(name="read a verified commit", retries=1)
def read_verified(remote: EnvironmentRemote, *, state: Path, commit: str) -> VerifiedHead:
    """A commit that passed earlier, from the mirror and without the network: for when the head itself is refused."""
    return _read(git.mirror_path(state, remote.name), commit, ())


def read_older_policies(remote: EnvironmentRemote, *, state: Path, commits: Collection[str]) -> tuple[Policy, ...]:
    """Rules and waivers of commits that passed earlier, from the mirror; the default rules where there is no file."""
    trees = read_files(remote, state=state, commits=commits, paths=(layout.RULES, layout.WAIVERS))
    return tuple(Policy(read_rules(tree), read_waivers(tree), tree.commit[:12]) for tree in trees)


def read_older_health(remote: EnvironmentRemote, *, state: Path, commits: Collection[str]) -> tuple[HealthRules, ...]:
    """The health rules of commits that passed earlier, from the mirror."""
    trees = read_files(remote, state=state, commits=commits, paths=(layout.HEALTH,))
    return tuple(map(read_health, trees))


def read_older_attesters(
    remote: EnvironmentRemote, *, state: Path, commits: Collection[str]
) -> tuple[AttestersFile | None, ...]:
    """Whose word about images counted at commits that passed earlier, from the mirror."""
    return tuple(map(read_attesters, read_files(remote, state=state, commits=commits, paths=(layout.ATTESTERS,))))


def read_older_environments(
    remote: EnvironmentRemote, environment: str, *, state: Path, commits: Collection[str]
) -> tuple[EnvironmentFile, ...]:
    """The environment's own file at commits that passed earlier, of those that have it."""
    path = layout.environment(environment)
    trees = read_files(remote, state=state, commits=commits, paths=(path,))
    return tuple(strict_yaml.parse(tree.text(path), EnvironmentFile, path=path) for tree in trees if path in tree.files)


def read_files(
    remote: EnvironmentRemote, *, state: Path, commits: Collection[str], paths: Collection[str]
) -> tuple[Tree, ...]:
    """Of each commit those of the files that it has, in one go."""
    names = {f"{commit}:{path}": (commit, path) for commit in sorted(commits) for path in paths}
    blobs = git.read_blobs(git.mirror_path(state, remote.name), names) if names else {}
    files: dict[str, dict[str, bytes]] = {commit: {} for commit in sorted(commits)}
    for name, blob in blobs.items():
        commit, path = names[name]
        files[commit][path] = blob
    return tuple(Tree.of(found, commit=commit) for commit, found in files.items())


def verify(
    mirror: Path,
    root: RootPin,
    head: str,
    *,
    since: str | None,
    today: dt.date | None = None,
    vouch: Vouch = nobody_asks,
) -> tuple[Verified, ...]:
    """Judge the commits between the verified head, or the root pin if that is newer, and `head`, as of today.

    `vouch` asks a forge about what it has signed; without it nothing of that kind passes.
    """
    today = today or dt.datetime.now(dt.UTC).date()
    if since is not None and not git.is_ancestor(mirror, since, head):
        raise verification.rewritten(since, head)
    if not git.is_ancestor(mirror, root.commit, head):
        raise _foreign_history(root, head)
    verified: tuple[Verified, ...] = ()
    known = since is not None and git.is_ancestor(mirror, root.commit, since)
    if since is not None and known:
        verification.verify_root_key(git.read_signed(mirror, root.commit), pin=root)
        base = _point(mirror, since)
    elif since is None or git.is_ancestor(mirror, since, root.commit):
        base, verified = _root(mirror, root)
    else:
        raise _foreign_history(root, since)
    if base.commit != head:
        range_ = git.read_commits(mirror, base.commit, head)
        blobs = _blobs(mirror, range_).get
        judged, point = verification.verify_range(
            range_, base=base, new=head, blobs=blobs, today=today, known=known, vouch=vouch
        )
        _require_none_compromised(mirror, root, base, point)
        verified += judged
    elif known:
        _verify_again(mirror, root, base, vouch)
    git.keep(mirror, head)
    return verified


def _verify_again(mirror: Path, root: RootPin, head: Point, vouch: Vouch) -> None:
    """The verified head, though nothing is new: who set this host's mark elsewhere has not made it a good commit."""
    if head.commit == root.commit:
        _root(mirror, root)
        return
    parents = commits.parse(git.read_signed(mirror, head.commit).data).parents
    if len(parents) != 1:
        raise Untrusted(
            f"the verified head {head.commit[:12]} has {len(parents)} parents",
            rule="merge",
            hint="no commit with so many ever passes: find out who changed this host's state folder",
        )
    range_ = git.read_commits(mirror, parents[0], head.commit)
    try:
        parent = _point(mirror, parents[0])
    except Refused:
        parent = None
    blobs = _blobs(mirror, range_).get
    verification.verify_head(range_[0], parent=parent, trust=head.trust, blobs=blobs, vouch=vouch)


def _require_none_compromised(mirror: Path, root: RootPin, base: Point, now: Point) -> None:
    """When the new commits say of a key that it is compromised: that it signed nothing that passed before they came."""
    for key in verification.newly_compromised(base.trust, now.trust):
        believed = key.believed_to
        if git.is_ancestor(mirror, base.commit, believed):
            continue
        since = believed if git.is_ancestor(mirror, root.commit, believed) else root.commit
        verification.require_none_by(key, git.read_line(mirror, since, base.commit))


def _root(mirror: Path, pin: RootPin) -> tuple[Point, tuple[Verified, ...]]:
    root = git.read_commit(mirror, pin.commit)
    point, verified = verification.verify_root(root, pin=pin, blobs=_blobs(mirror, (root,)).get)
    return point, (verified,)


def _point(mirror: Path, commit: str) -> Point:
    """A commit verified earlier, as the base for what follows."""
    names = {f"{commit}:{path}": path for path in (layout.SIGNERS, layout.BINDINGS)}
    blobs = git.read_blobs(mirror, names)
    files = {path: blobs[name] for name, path in names.items() if name in blobs}
    return Point(commit, git.tree_id(mirror, commit), verification.trust_of(files, commit=commit))


def refuses(mirror: Path, commit: RawCommit) -> bool:
    """Whether the commit is refused by the trust of its parent; False where that has none."""
    parents = commits.parse(commit.data).parents
    try:
        parent = _point(mirror, parents[0])
    except (IndexError, Refused):
        return False
    return verification.refuses(commit, parent, blobs=_blobs(mirror, (commit,)).get)


def _blobs(mirror: Path, range_: Iterable[RawCommit]) -> dict[str, bytes]:
    """Those files of the range that the rules read, in one go."""
    wanted, rescans, agreed = set[str](), set[str](), set[str]()
    for change in (change for raw in range_ for change in raw.changes):
        if change.path in (layout.SIGNERS, layout.BINDINGS) or layout.parse_release(change.path):
            sides = ((change.old_mode, change.old_blob), (change.new_mode, change.new_blob))
            wanted |= {blob for mode, blob in sides if mode not in (commits.ABSENT, commits.SUBMODULE)}
        elif layout.parse_rescan(change.path) and not change.is_deletion:
            rescans.add(change.new_blob)
        elif layout.parse_approval(change.path) and not change.is_deletion:
            agreed.add(change.new_blob)
    found = git.read_blobs(mirror, wanted, largest=_TRUST_BYTES)
    for more, largest in ((rescans, _RESCAN_BYTES), (agreed, _APPROVAL_BYTES)):
        found = {**found, **(git.read_blobs(mirror, more, largest=largest) if more else {})}
    return found


def _read(mirror: Path, commit: str, verified: tuple[Verified, ...]) -> VerifiedHead:
    tree = git.read_tree(mirror, commit)
    return VerifiedHead(commit, tree, read(tree), verified)


def _foreign_history(root: RootPin, commit: str) -> Refused:
    return Refused(
        f"{commit[:12]} does not descend from the root pin {root.commit[:12]}",
        rule="root-pin",
        hint="the repository is another one, or its history was replaced: check the host config's `url` and `root`",
    )
