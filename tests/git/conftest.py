"""The sandbox's git server in this process, with an account per role; a repository and a mirror for each test."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.contract import signature
from interlock.contract.commit import Person
from interlock.contract.host import Remote
from sandbox.git_server import GitServer
from tasks.common import git

AUTHOR = Person("Interlock", "interlock@example.org")
ACCOUNTS = {"developer": "dev-pass", "ci": "ci-pass", "cd": "cd-pass"}
RIGHTS = {"developer": "write", "ci": "write", "cd": "read"}


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

    server: Server
    bare: Path
    remote: Remote
    mirror: Path
    key: Key

    def as_role(self, role: str) -> Remote:
        return self.remote.model_copy(update={"auth": self.server.auth(role)})

    def write(
        self, parent: str | None, changes: dict[str, bytes | None], *, message: str = "Change", by: Key | None = None
    ) -> str:
        path = (by or self.key).path
        return git.write_commit(self.mirror, parent, changes, message=message, key=path, author=AUTHOR)

    def push(self, parent: str | None, changes: dict[str, bytes | None], *, message: str = "Change") -> str:
        commit = self.write(parent, changes, message=message)
        git.push(self.mirror, commit, self.remote, expected=parent)
        return commit


class Server:
    """Repositories on a server, and the auth files of its accounts."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.rights: dict[str, dict[str, str]] = {role: {} for role in ACCOUNTS}
        hashes = {role: hashlib.sha256(password.encode()).hexdigest() for role, password in ACCOUNTS.items()}
        (folder / "accounts.json").write_text(json.dumps(hashes))
        for role, password in ACCOUNTS.items():
            self.auth(role).touch(mode=0o600)
            self.auth(role).write_text(f"{role}:{password}\n")

    def auth(self, role: str) -> Path:
        return self.folder / f"{role}.auth"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}.git"

    def create(self, name: str) -> Path:
        """A bare repository that refuses nothing: what the server allows is not what these tests are about."""
        path = self.folder / "repositories" / f"{name}.git"
        subprocess.run(["git", "init", "--bare", "--quiet", "--initial-branch=main", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
        for role, right in RIGHTS.items():
            self.rights[role][name] = right
        (self.folder / "rights.json").write_text(json.dumps(self.rights))
        return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("git-server")
    with GitServer(folder, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield Server(folder, running.server_port)
        running.shutdown()


@pytest.fixture
def repository(server: Server, tmp_path: Path) -> Repository:
    """An empty repository."""
    return make_repository(server, tmp_path)


def make_repository(server: Server, folder: Path) -> Repository:
    name = f"r{uuid.uuid4().hex[:12]}"
    bare = server.create(name)
    mirror = folder / f"{name}-developer.git"
    git.create(mirror)
    key = Key.make(folder / f"{name}-key")
    return Repository(server, bare, Remote(url=server.url(name), auth=server.auth("developer")), mirror, key)
