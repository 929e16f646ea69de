"""Somebody with stolen push rights brings code into an application repository that nobody signed, or rewrites it.

Defence: a pre-receive hook holds the branch to what the environment repository wants of it, every new commit signed by
one of `commit_keys`, one line, no rewrite (interlock/contract/source_push.py, tasks/common/source_repository.py). CI
asks for the signature of the commit that it builds, by the same function, whatever the git server took.
Not defended: reviews and required checks, which a plain git server has not; and a branch without the hook, where
whoever signs a commit on top has taken in what is below.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import Blocked
from tests.git.conftest import Server
from tests.git.guarded_source import CODE, GuardedSource, make_guarded_source

EVIL: dict[str, bytes | None] = {CODE: b"print('evil')\n"}


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> GuardedSource:
    """With one good commit after the first."""
    made = make_guarded_source(server, tmp_path)
    assert made.push_head(made.write({CODE: b"print(2)\n"}))[0] == 0
    return made


def attack(guarded: GuardedSource, kind: str) -> str:
    """A commit that whoever stole an account can make, or a signed one from before that has a hole."""
    return guarded.unsigned(EVIL) if kind == "unsigned" else guarded.root


KINDS = pytest.mark.parametrize(("kind", "rule"), [("unsigned", "source-signature"), ("forced back", "rewritten")])


def test_the_push_succeeds_and_is_built_once_somebody_signs_on_top(guarded: GuardedSource) -> None:
    """CI blocks the unsigned commit itself; the next person who pulls and commits brings it in without a look."""
    guarded.unguard()
    assert guarded.push_head(guarded.unsigned(EVIL))[0] == 0
    with pytest.raises(Blocked, match="not signed"):
        guarded.builds()

    above = guarded.write({"README": b"by ada\n"})
    assert guarded.push_head(above)[0] == 0
    assert guarded.builds() == above


def test_the_forced_push_succeeds_without_the_hook(guarded: GuardedSource) -> None:
    """The account's rights are enough to bring back a commit with a hole, and its signature is right."""
    guarded.unguard()

    assert guarded.push_head(guarded.root, force=True)[0] == 0
    assert guarded.builds() == guarded.root


@KINDS
def test_the_push_is_refused_by_the_hook(guarded: GuardedSource, kind: str, rule: str) -> None:
    """By the rule's word, on the pusher's terminal, and CI builds what was there."""
    good = guarded.at

    code, said = guarded.push_head(attack(guarded, kind), force=True)

    assert code != 0 and f"refused ({rule})" in said
    assert guarded.at == good == guarded.builds()
