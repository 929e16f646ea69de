"""Somebody with stolen push rights brings commits to the protected branch that nobody signed, or rewrites it.

Number: 2
Defence: the right to push is not the right to sign. A pre-receive hook refuses what the verifier refuses
(interlock/contract/verification.py, tasks/common/receive_hook.py), and CD judges every commit by the same verifier
whatever the git server took (tasks/common/environment_repository.py).
Not defended: that pushes are kept from the branch where the hook is not installed. CD still refuses them, and deploys
nothing new until the branch is brought back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import Refused
from tests.git.conftest import Server
from tests.git.guarded import VALUES, Guarded, make_guarded

EVIL: dict[str, bytes | None] = {VALUES: b"replicas: 50\n"}


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Guarded:
    """With one good commit after the first, which CD has verified."""
    made = make_guarded(server, tmp_path)
    assert made.push_head(made.write({VALUES: b"replicas: 2\n"}))[0] == 0
    return made


def attack(guarded: Guarded, kind: str) -> str:
    """A commit that whoever stole an account can make, without a key or with one that is no signer's."""
    if kind == "unsigned":
        return guarded.unsigned(EVIL)
    if kind == "merge":
        side = guarded.unsigned(EVIL, parents=(guarded.root,))
        return guarded.unsigned(EVIL, parents=(guarded.at, side))
    return guarded.write(EVIL, on=guarded.root)


KINDS = pytest.mark.parametrize(
    ("kind", "rule"), [("unsigned", "unsigned"), ("merge", "merge"), ("forced", "rewritten")]
)


@KINDS
def test_the_push_succeeds_on_a_plain_git_server(guarded: Guarded, kind: str, rule: str) -> None:
    """Without the hook the account's rights are enough to move the branch; and CD refuses what it finds there."""
    good = guarded.at
    guarded.deploys()
    guarded.unguard()
    commit = attack(guarded, kind)

    assert guarded.push_head(commit, force=True)[0] == 0
    assert guarded.at == commit
    with pytest.raises(Refused) as refused:
        guarded.deploys(since=good)
    assert refused.value.rule == rule


@KINDS
def test_the_push_is_refused_by_the_hook(guarded: Guarded, kind: str, rule: str) -> None:
    """By the same rule's word, on the pusher's terminal, and the branch stays where it was."""
    good = guarded.at

    code, said = guarded.push_head(attack(guarded, kind), force=True)

    assert code != 0 and f"refused ({rule})" in said
    assert guarded.at == good == guarded.deploys().commit
