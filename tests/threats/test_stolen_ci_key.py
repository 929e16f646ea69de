"""Somebody has CI's signing key, and uses it for more than CI does, or after it was taken away.

Number: 3
Defence: a machine's key writes only its own components' entries, their evidence and rescans, as the bindings of the
parent commit say, whatever paths it was given (interlock/contract/verification.py); a commit counts by the host's
clock and the keys of the new head, never by the date that it carries.
Not defended: a release of the key's own component with evidence that the thief makes, into an environment that asks
for no approval, while nobody has noticed. Where CI's attestation key lives elsewhere, that key is needed too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.contract import commit as commits
from interlock.contract import layout, verification
from tasks.common import git
from tasks.common.environment_repository import verify
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree, release_files
from tests.git.conftest import AUTHOR, Key, Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)
BEYOND: dict[str, dict[str, bytes | None]] = {
    "replicas": {VALUES: b"replicas: 50\n"},
    "a template": {f"{layout.templates('service')}/evil.yaml.j2": b"a: b\n"},
    "the gate": {layout.GATE: b"format: 1\nrules: {vulnerabilities: []}\n"},
    "trust": {layout.BINDINGS: b"format: 1\nbindings: []\n"},
    "another application": {"environments/dev/bank/release.yaml": b"format: 1\ncomponents: {}\n"},
    "its release taken away": {layout.release(ENVIRONMENT, APPLICATION): None},
}


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


@pytest.fixture
def released(world: World) -> str:
    """One release by CI itself, which the host has verified."""
    commit = world.push(world.root, release_files(), by=world.ci)
    assert world.fetch().commit == commit
    return commit


@pytest.mark.parametrize("changes", BEYOND.values(), ids=BEYOND)
def test_writing_more_than_releases_succeeds_by_signatures_alone(
    world: World, released: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, bytes | None]
) -> None:
    """Where a good signature is all that is asked, CI's key writes what it likes."""
    monkeypatch.setattr(verification, "_check_scope", lambda *_: None)
    monkeypatch.setattr(verification, "_check_release", lambda *_: None)
    evil = world.repository.write(released, changes, by=world.ci)
    world.force(evil)

    assert passed(world, released) == (evil,)


@pytest.mark.parametrize("changes", BEYOND.values(), ids=BEYOND)
def test_writing_more_than_releases_is_refused(world: World, released: str, changes: dict[str, bytes | None]) -> None:
    """By the paths that its signer may write, or by what bindings give it."""
    world.force(world.repository.write(released, changes, by=world.ci))

    assert world.refusal(released) in ("path-scope", "release-scope")


def test_a_backdated_commit_of_a_removed_key_is_refused(world: World, released: str) -> None:
    """The date in a commit is whatever its author says; `git verify-commit` asks it, we do not."""
    new_ci = Key.make(world.state.parent / "new-ci")
    files = environment_tree(person_key=world.ada.public, machine_key=new_ci.public).files
    rotated = world.push(released, {layout.SIGNERS: files[layout.SIGNERS]}, by=world.ada)
    assert world.fetch(released).commit == rotated
    tree = git.tree_id(world.repository.mirror, rotated)
    data = commits.unsigned(tree=tree, parents=(rotated,), author=AUTHOR, seconds=1_000_000_000, message="Old")
    data = commits.signed(data, world.ci.path.read_bytes())
    command = ("git", f"--git-dir={world.repository.mirror}", "hash-object", "-t", "commit", "-w", "--stdin")
    world.force(subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip())

    assert world.refusal(rotated) == "unknown-key"


def passed(world: World, since: str) -> tuple[str, ...]:
    """The commits that the host's verification lets pass, whatever its reader says of their files."""
    mirror = git.mirror_path(world.state, "environments")
    head = git.fetch(mirror, world.remote)
    return tuple(each.commit for each in verify(mirror, world.remote.root, head, since=since))
