"""What an environment waits for before it is changed: asked of the commits in the mirror, and of the host's clock.

And of a forge, where the host and the rules believe one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.contract import approvals, layout, squash, verification
from interlock.contract import commit as commits
from interlock.contract.approvals import Asked, Question
from interlock.contract.host import EnvironmentRemote
from interlock.contract.repository import Environment, read_approvals
from interlock.contract.tree import Tree
from tasks.common import clock, git
from tasks.common.effect import effect
from tasks.common.environment_repository import VerifiedHead
from tasks.common.mirrored import Mirrored
from tasks.common.reviews import doors
from tasks.common.squashes import Squashes


def asks(remote: EnvironmentRemote, head: VerifiedHead, environment: str, *, state: Path, deployed: str | None) -> bool:
    """Whether the environment may wait for anybody: by the commit's rules, or by those of what is deployed.

    Before the first deploy, by those of any commit since the root pin.
    """
    if deployed == head.commit:
        return False
    if environment in head.repository.approvals:
        return True
    if deployed is None:
        history, root = _history(remote, head, state), remote.root.commit
        return bool(approvals.rules_that_hold(history, environment, deployed=None, commit=head.commit, root=root))
    name = f"{deployed}:{layout.SIGNERS}"
    before = git.read_blobs(git.mirror_path(state, remote.name), [name])
    return environment in read_approvals(Tree.of({layout.SIGNERS: before[name]}))


@effect(name="weigh approvals", retries=1)
def weigh(
    remote: EnvironmentRemote,
    head: VerifiedHead,
    environment: Environment,
    *,
    state: Path,
    deployed: str | None,
) -> Question | None:
    """What people have to agree to before the head is deployed, and who has; None when nobody has to.

    The forge is asked for reviews, where the host names one and all rules that hold take them. That it does not answer
    is no error here: it adds nobody to those who have agreed, and what it would have said is awaited.
    """
    asked = Asked(
        repository=head.repository.id,
        branch=remote.branch,
        environment=environment.name,
        environment_id=environment.id,
        now=clock.now(state),
        root=remote.root.commit,
    )
    history = _history(remote, head, state)
    range_ = approvals.to_ask(history, asked, deployed=deployed, commit=head.commit) if remote.reviews else None
    found = doors.found(remote.reviews, remote.branch, range_) if remote.reviews and range_ else None
    squashed = _squashed(history, remote, deployed, head.commit, state)
    return approvals.question(history, asked, deployed=deployed, commit=head.commit, forge=found, squashed=squashed)


def _squashed(
    history: Mirrored, remote: EnvironmentRemote, deployed: str | None, commit: str, state: Path
) -> Mapping[str, frozenset[str]]:
    """Who wrote what a forge squashed, as it was told when the commit was verified."""
    known, found = Squashes(remote, state), dict[str, frozenset[str]]()
    for raw in history.commits(deployed, commit):
        if kept := known.kept(raw.id):
            parent = history.tree(commits.parse(raw.data).parents[0])
            trust = verification.trust_of(parent.files, commit=parent.commit)
            found[raw.id] = squash.authors(raw, kept, trust)
    return found


def _history(remote: EnvironmentRemote, head: VerifiedHead, state: Path) -> Mirrored:
    return Mirrored(git.mirror_path(state, remote.name), {head.commit: head.tree})
