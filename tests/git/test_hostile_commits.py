"""Commits from somebody who may push and has no signing key: they are refused as any other, and stop nothing else."""

from __future__ import annotations

import subprocess

import pytest

from interlock.contract import commit as commits
from interlock.errors import Refused
from tasks.common import git
from tasks.common.environment_repository import read_verified
from tests.git.conftest import AUTHOR, Server
from tests.git.test_hostile_trees import raw_object
from tests.git.verified import World, make_world


@pytest.fixture
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(server, tmp_path_factory.mktemp("world"))
    made.fetch()
    return made


def publish(world: World, *, message: str = "Change", email: str = "<interlock@example.org> ") -> str:
    """An unsigned commit on top of the root, as the branch's head."""
    bare, tree = world.repository.bare, git.tree_id(world.repository.mirror, world.root)
    data = commits.unsigned(tree=tree, parents=(world.root,), author=AUTHOR, seconds=0, message=message)
    head = raw_object(world.repository, "commit", data.replace(b"<interlock@example.org> ", email.encode()))
    subprocess.run(("git", f"--git-dir={bare}", "update-ref", "refs/heads/main", head), check=True)
    return head


def still_reads(world: World) -> bool:
    """Whether the verified commit, which an upkeep goes back to, is there."""
    return read_verified.fn(world.remote, state=world.state, commit=world.root).commit == world.root


@pytest.mark.parametrize("size", [2 << 20, git.MAX_FILE_BYTES + 1], ids=["2 MiB", "more than a file may have"])
def test_a_commit_that_is_too_long_is_refused(world: World, size: int) -> None:
    """It is a Refused with a rule, as is every bad head, and never passed over as if it were not in the line."""
    head = publish(world, message="x" * size)

    assert world.refusal(world.root) == "too-large"
    mirror = git.mirror_path(world.state, "environments")
    for read in (lambda: list(git.read_line(mirror, world.root, head)), lambda: git.read_signed(mirror, head)):
        with pytest.raises(Refused, match=f"commit {head[:12]} has a message, or a signature, of more than 1024 KiB"):
            read()
    assert still_reads(world)


def test_an_object_that_git_does_not_accept_is_refused(world: World) -> None:
    """The branch is bad, not the mirror: the refusal says which object, and the verified commit is read on."""
    head = publish(world, email="")

    with pytest.raises(Refused, match=f"object {head}: missingEmail") as refused:
        world.fetch(world.root)
    assert refused.value.rule == "malformed" and "brings it back" in refused.value.hint
    assert still_reads(world)
