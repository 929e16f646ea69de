"""A git server for the whole run; a repository, its remote and its mirror for each test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.contract import signature
from interlock.contract.commit import Person
from interlock.contract.host import Remote
from tasks.common import git
from tests.git.http_server import ACCOUNTS, GitServer, serving

AUTHOR = Person("Interlock", "interlock@example.org")


@dataclass(frozen=True)
class Key:
    """A signing key in its file."""

    path: Path
    public: str

    @classmethod
    def make(cls, path: Path) -> Key:
        private, public = signature.generate_key(path.name)
        path.touch(mode=0o600)
        path.write_bytes(private)
        return cls(path, public)


@dataclass
class Repository:
    """A repository on the server, seen by a developer who may push, with a mirror of their own."""

    server: GitServer
    bare: Path
    remote: Remote
    mirror: Path
    key: Key

    def as_role(self, role: str) -> Remote:
        return self.remote.model_copy(update={"auth": self.bare.parent / f"{role}.auth"})

    def write(
        self, parent: str | None, changes: dict[str, bytes | None], *, message: str = "Change", key: Key | None = None
    ) -> str:
        path = (key or self.key).path
        return git.write_commit(self.mirror, parent, changes, message=message, key=path, author=AUTHOR)

    def push(self, parent: str | None, changes: dict[str, bytes | None], *, message: str = "Change") -> str:
        commit = self.write(parent, changes, message=message)
        git.push(self.mirror, commit, self.remote, expected=parent)
        return commit


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    root = tmp_path_factory.mktemp("git-server")
    for user, password in ACCOUNTS.items():
        login = root / f"{user}.auth"
        login.touch(mode=0o600)
        login.write_text(f"{user}:{password}\n")
    with serving(root) as running:
        yield running


@pytest.fixture
def repository(server: GitServer, tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    name = f"r{abs(hash(request.node.nodeid))}"
    bare = server.create(name)
    remote = Remote(url=server.url(name), auth=bare.parent / "developer.auth")
    mirror = tmp_path / "developer.git"
    git.create(mirror)
    return Repository(server, bare, remote, mirror, Key.make(tmp_path / "developer-key"))
