"""A CI host with real parts, an application repository and an environment repository of its own for each test."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.ci.host import CiHost, Trivy
from interlock.contract import layout, signature
from interlock.contract.commit import Person
from interlock.contract.host import EnvironmentRemote, Registry, Remote, RootPin, Signing
from interlock.contract.tree import Tree
from sandbox.parts import git as git_part
from sandbox.parts import registry as registry_part
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.parts.git import Git
from sandbox.parts.registry import Registry as RegistryPart
from sandbox.parts.trivy import Trivy as TrivyPart
from sandbox.place import Place
from tasks.common import git
from tests import examples_of_repositories as example
from tests.docker import service

ADA = Person("Ada", "ada@example.org")


@dataclass
class Repository:
    """A repository on the sandbox's git server, seen by somebody with a signing key who may push."""

    remote: Remote
    mirror: Path
    key: Path
    place: Place
    bare: Path
    head: str | None = None

    def push(self, changes: dict[str, bytes | None], message: str = "Change") -> str:
        """Commit on top of what the server has, and push."""
        before = git.fetch_or_empty(self.mirror, self.remote)
        commit = git.write_commit(self.mirror, before, changes, message=message, key=self.key, author=ADA)
        git.push(self.mirror, commit, self.remote, expected=before)
        self.head = commit
        return commit

    def read(self) -> Tree:
        return git.read_tree(self.mirror, git.fetch(self.mirror, self.remote), executable=True)

    def rewind(self, commit: str) -> None:
        """Somebody with power over the server puts the branch back."""
        git_part._git_as_server(self.place, "-C", str(self.bare), "update-ref", "refs/heads/main", commit)

    def on_server(self, *words: str, given: str = "") -> str:
        """What a git command says in the server's own copy, run by nobody who may sign."""
        who = ["-c", "user.name=Eve", "-c", "user.email=eve@example.org", "-c", f"safe.directory={self.bare}"]
        command = ["git", *who, "-C", str(self.bare), *words]
        return subprocess.run(command, check=True, input=given, capture_output=True, text=True).stdout.strip()

    def count(self) -> int:
        return len(git.read_commits(self.mirror, None, git.fetch(self.mirror, self.remote)))


@dataclass
class Walk:
    """Everything a release needs."""

    host: CiHost
    application: Repository
    environments: Repository
    image: str
    """The repository that the binding gives."""


@pytest.fixture(scope="session")
def scanner_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image's layers are looked at once, not once per test."""
    return tmp_path_factory.mktemp("scanner")


@pytest.fixture(scope="session")
def new_walk(
    git_server: Git, registry: RegistryPart, docker_daemon: Docker, base_image: BaseImage, trivy_database: TrivyPart
) -> Callable[[Path, Path], Walk]:
    """Makes an application repository with the tiny service, bound to the environment `dev`; nothing is released."""

    def make(folder: Path, scanner_cache: Path) -> Walk:
        place, mark = git_server.place, uuid.uuid4().hex[:12]
        (folder / "state").mkdir()
        (folder / "state" / "scanner").symlink_to(scanner_cache)
        ada, robot = _key(folder / "ada"), _key(folder / "ci-shop")
        image = f"{place.registry}/{mark}/web"
        application = _repository(place, f"shop-{mark}", "application", folder)
        environments = _repository(place, f"environments-{mark}", "environment", folder)
        root = environments.push(_environment_files(image, ada=ada, robot=robot), "Begin")
        application.push(service.files(), "Begin")
        host = CiHost(
            format=1,
            prefect="http://127.0.0.1:1/api",
            state=folder / "state",
            environment_repository=EnvironmentRemote(
                name="environments",
                url=environments.remote.url,
                auth=git_part.credentials(place, "ci"),
                root=RootPin(commit=root, keys=(ada,)),
            ),
            repositories={"shop": Remote(url=application.remote.url, auth=git_part.credentials(place, "ci"))},
            registry=Registry(host=place.registry, auth=registry_part.credentials(place, "ci"), insecure=True),
            signing=Signing(signer="ci-shop", key=folder / "ci-shop"),
            docker=docker_daemon.docker_host,
            trivy=Trivy(cache=trivy_database.cache, database="pinned"),
        )
        return Walk(host, application, environments, image)

    return make


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may hold cluster credentials, which CI would refuse."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture
def walk(new_walk: Callable[[Path, Path], Walk], scanner_cache: Path, tmp_path: Path) -> Walk:
    """A walk of the test's own."""
    return new_walk(tmp_path, scanner_cache)


@pytest.fixture(scope="module")
def shared_walk(
    new_walk: Callable[[Path, Path], Walk], scanner_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """A walk for the tests that only look."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("KUBECONFIG", raising=False)
        yield new_walk(folder, scanner_cache)


def _key(path: Path) -> str:
    private, public = signature.generate_key(path.name)
    path.touch(mode=0o600)
    path.write_bytes(private)
    return public


def _repository(place: Place, name: str, kind: git_part.Kind, folder: Path) -> Repository:
    url = git_part.create_repository(place, name, kind=kind)
    mirror = folder / f"{name}.git"
    git.create(mirror)
    remote = Remote(url=url, auth=git_part.credentials(place, "developer"))
    return Repository(remote, mirror, folder / "ada", place, git_part.repository_path(place, name))


def _environment_files(image: str, *, ada: str, robot: str) -> dict[str, bytes | None]:
    tree = example.environment_tree(released=False, person_key=ada, machine_key=robot)
    bindings = tree.text(layout.BINDINGS).replace(example.IMAGE_REPOSITORY, image)
    return {**tree.files, layout.BINDINGS: bindings.encode()}
