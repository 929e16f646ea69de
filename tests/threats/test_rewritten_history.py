"""Somebody sets the protected branch back to an older commit, or puts another signed history in its place.

Number: 4
Defence: a host measures from the newest commit that it verified, which it writes down before it deploys anything of it;
a head that does not descend from it is refused, whoever signed it (interlock/contract/verification.py). Going back
is a new commit.
Not defended: a host without a mark and with a cluster without a record takes any head that descends from the root pin
and passes; who can remove both is in the cluster and on the host already.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.contract import layout
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


@pytest.fixture
def newest(world: World) -> str:
    """Two good commits after the first; the host has verified both."""
    vulnerable = world.push(world.root, {VALUES: b"replicas: 1\n"}, by=world.ada, message="Old")
    mended = world.push(vulnerable, {VALUES: b"replicas: 3\n"}, by=world.ada, message="Mended")
    assert world.fetch().commit == mended
    return mended


def histories(world: World, newest: str) -> dict[str, str]:
    """By what an attacker does: the head that the branch gets. All of them hold only what signers signed."""
    parents = ("git", f"--git-dir={world.repository.mirror}", "rev-parse", f"{newest}~1")
    before = subprocess.run(parents, capture_output=True, check=True, text=True).stdout.strip()
    again = dict(environment_tree(released=False, person_key=world.ada.public, machine_key=world.ci.public).files)
    return {
        "set back": before,
        "set back to the first": world.root,
        "another future": world.repository.write(before, {VALUES: b"replicas: 2\n"}, by=world.ada),
        "another beginning": world.repository.write(None, {**again, VALUES: b"replicas: 0\n"}, by=world.ada),
    }


KINDS = pytest.mark.parametrize("kind", ["set back", "set back to the first", "another future", "another beginning"])


@KINDS
def test_setting_the_branch_back_succeeds_with_a_plain_clone(
    world: World, newest: str, tmp_path: Path, kind: str
) -> None:
    """`git fetch` and `git reset`, which plain tools run, take whatever the branch says now."""
    clone = tmp_path / "clone"
    subprocess.run(("git", "clone", "--quiet", str(world.repository.bare), str(clone)), check=True)
    assert (clone / VALUES).read_text() == "replicas: 3\n"
    world.force(histories(world, newest)[kind])

    for words in (("fetch", "--quiet"), ("reset", "--quiet", "--hard", "origin/main")):
        subprocess.run(("git", "-C", str(clone), *words), check=True, capture_output=True)

    assert (clone / VALUES).read_text() != "replicas: 3\n"


@KINDS
def test_a_head_that_does_not_follow_is_refused(world: World, newest: str, kind: str) -> None:
    """Each time, and the branch is as good as before once it is brought back."""
    world.force(histories(world, newest)[kind])

    assert world.refusal(newest) == world.refusal(newest) == "rewritten"
    world.force(newest)
    assert world.fetch(newest).commit == newest
