"""Denied commits, as CD's mirror has them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from interlock.cd.deny import Denied, DenyFile
from interlock.contract import layout
from interlock.errors import Refused
from tasks.cd import deny_list
from tasks.common import git
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT
from tests.git.conftest import Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


def signed_in_other_lines(world: World, commit: str) -> str:
    """The same commit with its signature's lines broken elsewhere: nobody's key is needed for that."""
    mirror = world.repository.mirror
    data = git.read_signed(mirror, commit).data
    other = re.sub(rb"(SSH SIGNATURE-----\n [^\n]{30})", rb"\1\n ", data, count=1)
    command = ("git", f"--git-dir={mirror}", "hash-object", "-t", "commit", "-w", "--stdin")
    return subprocess.run(command, input=other, capture_output=True, check=True).stdout.decode().strip()


def test_a_denied_commit_stays_denied_under_another_id(world: World) -> None:
    """Whoever may push gives it another id, and it passes verification; it is what was denied all the same."""
    evil = world.push(world.root, {VALUES: b"replicas: 9\n"}, by=world.ada)
    world.fetch(world.root)
    file = DenyFile(format=1, denied=(Denied(commit=evil, reason="it is evil"),))
    mirror, again = git.mirror_path(world.state, "environments"), signed_in_other_lines(world, evil)
    followed = world.repository.write(again, {"README.md": b"harmless\n"}, by=world.ada)

    for head in (again, followed):
        world.force(head)
        verified = world.fetch(world.root)
        assert not git.is_ancestor(mirror, evil, verified.commit)
        with pytest.raises(Refused, match=f"commit {evil} is denied"):
            deny_list.require_none(file, mirror, verified, (), environment=ENVIRONMENT)


def test_what_comes_beside_a_denied_commit_is_not_denied(world: World) -> None:
    """Another commit on the same parent is another commit."""
    evil = world.push(world.root, {VALUES: b"replicas: 9\n"}, by=world.ada)
    world.fetch(world.root)
    world.force(world.repository.write(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada))
    file = DenyFile(format=1, denied=(Denied(commit=evil, reason="it is evil"), Denied(commit="1" * 40, reason="-")))
    head = world.fetch(world.root)

    deny_list.require_none(file, git.mirror_path(world.state, "environments"), head, (), environment=ENVIRONMENT)
