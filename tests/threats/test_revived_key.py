"""A key that ended is brought back through history: by a merge of an old fork, a revert, or another name.

Defence: history is one line, so no older trust comes in by a side branch; a key that is listed as ended stays listed
and is nobody's key again (interlock/contract/verification.py).
Not defended: a key that was only taken out, and not listed as ended, may be given back by who may write trust/.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.contract import commit as commits
from interlock.contract import layout, verification
from tasks.common import git
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import AUTHOR, Key, Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


@pytest.fixture
def bob(world: World) -> Key:
    return Key.make(world.state.parent / "bob")


def signers(world: World, *, bob: Key | None = None, name: str = "bob", ended: str = "") -> dict[str, bytes | None]:
    text = environment_tree(person_key=world.ada.public, machine_key=world.ci.public).text(layout.SIGNERS)
    more = f'  - {{name: {name}, key: "{bob.public}", writes: ["environments/**"]}}\n' if bob else ""
    return {layout.SIGNERS: f"{text}{more}{ended}".encode()}


def history(world: World, bob: Key) -> tuple[str, str]:
    """A commit at which bob's key signs, and the newest, at which it ended."""
    start = world.push(world.root, signers(world, bob=bob), by=world.ada)
    ended = f'ended:\n  - {{name: bob, key: "{bob.public}", compromised: {start}}}\n'
    newest = world.push(start, signers(world, ended=ended), by=world.ada)
    assert world.fetch().commit == newest
    return start, newest


def merged(world: World, ours: str, theirs: str) -> str:
    """What `git merge` makes of both, signed by ada."""
    mirror = world.repository.mirror
    tree = git.tree_id(mirror, world.repository.write(ours, {VALUES: b"replicas: 9\n"}, by=world.ada))
    data = commits.unsigned(tree=tree, parents=(ours, theirs), author=AUTHOR, seconds=1, message="Merge")
    data = commits.signed(data, world.ada.path.read_bytes())
    command = ("git", f"--git-dir={mirror}", "hash-object", "-t", "commit", "-w", "--stdin")
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()


def test_a_merge_of_an_old_fork_succeeds_for_who_asks_each_parent(world: World, bob: Key, tmp_path: Path) -> None:
    """Each commit of the fork is good by the trust of its own parent, and git finds the merge's signature good."""
    start, newest = history(world, bob)
    evil = world.repository.write(start, {VALUES: b"replicas: 9\n"}, by=bob)
    head = merged(world, newest, evil)
    allowed = tmp_path / "allowed"
    allowed.write_text(f'x namespaces="git" {world.ada.public}\nx namespaces="git" {bob.public}\n')
    settings = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed}")

    command = ("git", f"--git-dir={world.repository.mirror}", *settings, "verify-commit", head, evil)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_merge_of_an_old_fork_is_refused(world: World, bob: Key) -> None:
    """Also when a person merges whose key is good; and so is the fork itself in the branch's place."""
    start, newest = history(world, bob)
    evil = world.repository.write(start, {VALUES: b"replicas: 9\n"}, by=bob)
    world.force(merged(world, newest, evil))
    assert world.refusal(newest) == "merge"

    world.force(evil)
    assert world.refusal(newest) == "rewritten"


@pytest.mark.parametrize("name", ["bob", "carol"])
def test_a_reverted_end_succeeds_where_ends_may_go(
    world: World, bob: Key, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git revert` of the commit that ended the key gives it back, and the thief signs on."""
    _, newest = history(world, bob)
    monkeypatch.setattr(verification, "_require_still_ended", lambda *_: None)
    reverted = world.push(newest, signers(world, bob=bob, name=name), by=world.ada)
    evil = world.push(reverted, {VALUES: b"replicas: 9\n"}, by=bob)

    assert [each.commit for each in world.fetch(newest).new_commits] == [reverted, evil]


@pytest.mark.parametrize("name", ["bob", "carol"])
def test_a_reverted_end_is_refused(world: World, bob: Key, name: str) -> None:
    """With the end taken out, or left in beside the key."""
    start, newest = history(world, bob)
    ended = f'ended:\n  - {{name: bob, key: "{bob.public}", compromised: {start}}}\n'
    for changes in (signers(world, bob=bob, name=name), signers(world, bob=bob, name=name, ended=ended)):
        world.force(world.repository.write(newest, changes, by=world.ada))
        assert world.refusal(newest) == "trust-change"
