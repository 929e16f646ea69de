"""CI's one write into the environment repository: a signed commit, pushed only onto what was verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from interlock.ci.host import CiHost
from interlock.ci.proposal import BRANCHES, LeftBehind, is_branch_of
from interlock.contract import commit as commits
from interlock.contract.commit import COMMIT_ID, Person
from interlock.contract.host import Signing
from interlock.contract.models import CommitId
from interlock.contract.trailers import Trailers, message, parse
from interlock.errors import HostConfigError, Refused
from tasks.ci.decided import forget_decided, read_decided, standing_at
from tasks.common import git
from tasks.common.effect import effect
from tasks.common.environment_repository import verify
from tasks.common.whole_file import write_whole

_MARK = "verified-head"


@effect(name="push release commit", retries=2)
def push_release(
    host: CiHost,
    *,
    signing: Signing,
    parent: CommitId,
    changes: Mapping[str, bytes | None],
    subject: str,
    trailers: Trailers,
) -> str:
    """Write, sign and push; the new commit's id. PushRejected when the branch is no longer at `parent`.

    Refused, and nothing pushed, when the rules would refuse the commit: nobody could deploy past it.
    """
    remote = host.environment_repository
    mirror = git.mirror_path(host.state, remote.name)
    commit = _write(host, signing, parent, changes, message=message(subject, trailers))
    git.push(mirror, commit, remote, expected=parent)
    return commit


@effect(name="push release branch", retries=2, task_run_name="push {branch}")
def push_branch(
    host: CiHost,
    *,
    branch: str,
    parent: CommitId,
    changes: Mapping[str, bytes | None],
    subject: str,
    trailers: Trailers,
    stays: Callable[[Mapping[str, bytes]], bool],
) -> str:
    """One signed commit on top of `parent`, in the place of whatever the branch had; its id.

    What is there stays when it is such a commit and `stays`, which is given its files that `changes` writes. Whoever
    else wrote on the branch is overwritten: it is CI's. PushRejected when somebody did meanwhile.
    """
    remote = host.environment_repository.model_copy(update={"branch": branch})
    mirror, signing = git.mirror_path(host.state, remote.name), host.signing_of(trailers.source_repository)
    before = git.fetch_other(mirror, remote)
    if before and _is_ours(host, signing, before, parent) and stays(_files(mirror, before, changes)):
        return before
    commit = _write(host, signing, parent, changes, message=message(subject, trailers))
    git.push(mirror, commit, remote, expected=before, rewrite=True)
    return commit


@effect(name="list release branches", retries=1)
def release_branches(host: CiHost) -> dict[str, CommitId]:
    """Those that the environment repository has, and where they are."""
    remote = host.environment_repository
    return git.list_branches(git.mirror_path(host.state, remote.name), remote, BRANCHES)


@effect(name="remove a merged branch", task_run_name="look whether {branch} is merged")
def remove_merged(host: CiHost, branch: str, tip: CommitId, head: CommitId) -> bool:
    """Whether all that the branch has is in `head`: then it is taken away, and with it what is left of its request."""
    remote = host.environment_repository.model_copy(update={"branch": branch})
    mirror = git.mirror_path(host.state, remote.name)
    if not git.is_ancestor(mirror, tip, head):
        return False
    trailers = parse(commits.parse(git.read_commit(mirror, tip).data).message)
    if trailers is None or not is_branch_of(branch, trailers.source_repository, trailers.component):
        return True  # somebody else's, of a name like ours
    git.delete_branch(mirror, remote, expected=tip)
    return True


@effect(name="look at a release branch", retries=1, task_run_name="look at {branch}")
def left_behind(host: CiHost, branch: str, head: CommitId) -> LeftBehind | None:
    """A release of this host that `head` has left behind, judged by the policy that holds now.

    None when it was merged, lies on top, or is somebody else's. When policy has changed since, what was decided about
    its source is forgotten, so that polling has it judged again.
    """
    remote = host.environment_repository.model_copy(update={"branch": branch})
    mirror = git.mirror_path(host.state, remote.name)
    tip = git.fetch_other(mirror, remote)
    if tip is None or git.is_ancestor(mirror, tip, head):
        return None
    own = git.read_commits(mirror, head, tip)
    if len(own) != 1:
        return None
    found = commits.parse(own[0].data)
    trailers, parent = parse(found.message), "".join(found.parents)
    if trailers is None or parent == head:
        return None
    if not _is_ours(host, host.signing_of(trailers.source_repository), tip, parent):
        return None
    now = standing_at(mirror, head).policy
    if standing_at(mirror, parent).policy != now:
        _forget(host, trailers.source_repository, now)
        return None
    paths = [each.path for each in own[0].changes]
    return LeftBehind(branch, found.subject, trailers, _files(mirror, tip, paths), _files(mirror, parent, paths))


def _forget(host: CiHost, source: str, policy: str) -> None:
    """Unless it was judged by this policy: then the gate keeps it out, and the branch stays what it was."""
    decided = read_decided(host.state, source)
    if decided and decided.policy != policy:
        forget_decided(host.state, source)


def _write(
    host: CiHost, signing: Signing, parent: CommitId, changes: Mapping[str, bytes | None], *, message: str
) -> str:
    """A commit that passes the rules."""
    remote = host.environment_repository
    mirror = git.mirror_path(host.state, remote.name)
    commit = git.write_commit(
        mirror,
        parent,
        changes,
        message=message,
        key=signing.key,
        author=Person(signing.signer, f"{signing.signer}@interlock.invalid"),
    )
    verify(mirror, remote.root, commit, since=parent)
    return commit


def _is_ours(host: CiHost, signing: Signing, commit: str, parent: str) -> bool:
    """Whether it is one commit of that signer on top of `parent`."""
    remote = host.environment_repository
    try:
        verified = verify(git.mirror_path(host.state, remote.name), remote.root, commit, since=parent)
    except Refused:
        return False
    return [each.signer for each in verified] == [signing.signer]


def _files(mirror: Path, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
    names = {f"{commit}:{path}": path for path in paths}
    return {names[name]: blob for name, blob in git.read_blobs(mirror, names).items()}


def read_mark(state: Path) -> str | None:
    """The commit of the environment repository that CI verified last; what follows must descend from it."""
    with contextlib.suppress(FileNotFoundError):
        mark = (state / _MARK).read_text().strip()
        if not COMMIT_ID.fullmatch(mark):
            raise HostConfigError(f"{state / _MARK} does not hold a commit id", hint="delete it; all is verified again")
        return mark
    return None


def write_mark(state: Path, commit: str) -> None:
    """Whole or not at all."""
    write_whole(state / _MARK, f"{commit}\n".encode())
