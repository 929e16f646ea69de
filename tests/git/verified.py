"""An environment repository on a git server, and the state folder of a host that verifies it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.contract.host import EnvironmentRemote, RootPin
from interlock.errors import Refused
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tests.examples_of_repositories import environment_tree
from tests.git.conftest import Key, Repository, Server, make_repository


@dataclass
class World:
    """A pushed environment repository, with a person's key, CI's key, and CD's state folder."""

    repository: Repository
    ada: Key
    ci: Key
    state: Path
    root: str

    @property
    def remote(self) -> EnvironmentRemote:
        pin = RootPin(commit=self.root, keys=(self.ada.public,))
        remote = self.repository.as_role("cd")
        return EnvironmentRemote(name="environments", root=pin, url=remote.url, auth=remote.auth)

    def fetch(self, since: str | None = None, *, known: VerifiedHead | None = None) -> VerifiedHead:
        return fetch_verified.fn(self.remote, state=self.state, since=since, known=known)

    def refusal(self, since: str | None = None) -> str:
        with pytest.raises(Refused) as refused:
            self.fetch(since)
        return refused.value.rule

    def push(self, parent: str | None, changes: dict[str, bytes | None], *, by: Key, message: str = "Change") -> str:
        commit = self.repository.write(parent, changes, by=by, message=message)
        git.push(self.repository.mirror, commit, self.repository.remote, expected=parent)
        return commit

    def force(self, commit: str) -> None:
        """Whoever stole push rights on a lax server moves the branch where they like."""
        bare, mirror = self.repository.bare, self.repository.mirror
        subprocess.run(
            ("git", f"--git-dir={mirror}", "push", "--quiet", "--force", str(bare), f"{commit}:refs/heads/main"),
            check=True,
        )


def make_world(server: Server, tmp_path: Path) -> World:
    """With a first commit by ada, who may do everything; CI's key may release web of shop to dev."""
    repository = make_repository(server, tmp_path)
    ada, ci = Key.make(tmp_path / "ada"), Key.make(tmp_path / "ci")
    tree = environment_tree(released=False, person_key=ada.public, machine_key=ci.public)
    world = World(repository, ada, ci, tmp_path / "state", "")
    world.root = world.push(None, dict(tree.files), by=ada)
    return world
