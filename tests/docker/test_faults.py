"""Everything around a release may fail at any moment: one clear error or a resume, no half release, nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.ci.release import ReleaseOutcome, release_order
from interlock.contract import layout, repository
from interlock.errors import Blocked, DockerError, GitError, InterlockError, Refused, RegistryError, ToolError
from sandbox.golang import provide_binaries
from sandbox.part import Daemon, clean_environment, wait_until
from sandbox.parts import git as git_part
from sandbox.supervisor import Sandbox
from tasks.ci import scanner
from tasks.ci.decided import read_decided
from tasks.ci.images import daemon
from tasks.common import git
from tasks.common import registry as registry_api
from tasks.common.effect import Effect
from tests.docker import faulty
from tests.docker.conftest import Walk
from tests.docker.recorder import P, R, Recorder
from tests.faulty import Fault, Proxy

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Scene:
    """A walk whose CI meets a registry and a git server that fail as they are told."""

    walk: Walk
    registry: Proxy
    git: Proxy
    temporary: Path
    before: tuple[set[str], ...]

    async def release(self, recorder: Recorder | None = None) -> ReleaseOutcome:
        return await release_order(recorder or Recorder(), self.walk.host, "shop", None)

    async def failure(self, recorder: Recorder | None = None) -> InterlockError:
        """How a release ended that must not succeed; nothing is released by it, and nothing is left."""
        count = self.walk.environments.count()
        with pytest.raises(InterlockError) as caught:
            await self.release(recorder)
        note(caught.value)
        assert self.walk.environments.count() == count
        assert not self.released
        self.require_clean()
        return caught.value

    @property
    def released(self) -> bool:
        head = repository.read(self.walk.environments.read())
        release = head.environments["dev"].applications["shop"].release
        return release is not None and "web" in release.components

    def require_clean(self) -> None:
        """No container, network, volume, workspace or temporary file more than there was."""
        assert tuple(after - before for after, before in zip(in_docker(self.walk), self.before, strict=True)) == (
            set(),
            set(),
            set(),
        )
        assert [each.name for each in (self.walk.host.state / "runs").iterdir()] == [".guard"]
        assert list(self.temporary.iterdir()) == []


def in_docker(walk: Walk) -> tuple[set[str], ...]:
    """Containers, networks and volumes by their ids."""
    with daemon(walk.host.docker) as client:
        return (
            {each["Id"] for each in client.api.containers(all=True)},
            {each["Id"] for each in client.api.networks()},
            {each["Name"] for each in client.api.volumes()["Volumes"] or ()},
        )


def note(error: InterlockError) -> None:
    """Into the file that INTERLOCK_SAID names, for docs/faults.md."""
    if path := os.environ.get("INTERLOCK_SAID"):
        with Path(path).open("a") as file:
            file.write(f"{os.environ['PYTEST_CURRENT_TEST']}\n{type(error).__name__}: {error}\n\n")


@pytest.fixture
def scene(walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with faulty.before(walk.host.registry.host) as registry, faulty.before(_host(walk)) as server:
        yield Scene(_moved(walk, registry.address, server.address), registry, server, temporary, in_docker(walk))


def _host(walk: Walk) -> str:
    return walk.host.environment_repository.url.split("/")[2]


def _moved(walk: Walk, registry: str, server: str) -> Walk:
    """The walk with other addresses of registry and environment repository."""
    host, remote = walk.host, walk.host.environment_repository
    image = walk.image.replace(host.registry.host, registry)
    bindings = walk.environments.read().text(layout.BINDINGS).replace(walk.image, image)
    walk.environments.push({layout.BINDINGS: bindings.encode()})
    changed = {
        "registry": host.registry.model_copy(update={"host": registry}),
        "environment_repository": remote.model_copy(update={"url": remote.url.replace(_host(walk), server)}),
    }
    return replace(walk, host=host.model_copy(update=changed), image=image)


def says(error: InterlockError, *words: str) -> None:
    """One message with these words, which ends with what to do."""
    assert isinstance(error, ToolError | Refused)
    missing = [each for each in words if each not in str(error)]
    assert not missing, str(error)
    assert error.hint, str(error)


# the registry ----------------------------------------------------------------------------------------


async def test_a_registry_that_goes_away_before_the_push(scene: Scene, sandbox: Sandbox) -> None:
    """The run says that it does not answer; the next one releases."""
    scene = replace(scene, walk=_moved(scene.walk, sandbox.place.registry, scene.git.address))

    error = await scene.failure(Recorder(before={"push image": lambda: sandbox.kill("registry")}))
    sandbox.revive("registry")

    says(error, scene.walk.image, "connection refused", "is it up")
    assert isinstance(error, DockerError)
    assert error.transient
    await scene.release()
    assert scene.released


@pytest.fixture(scope="module")
def registry_program() -> Path:
    """Where it was built, before a test has a home of its own."""
    return provide_binaries("registry", report=lambda part, message: None) / "registry"


async def test_a_registry_that_is_full(scene: Scene, sandbox: Sandbox, registry_program: Path, tmp_path: Path) -> None:
    """Docker tells the status alone, so what the registry's log holds is asked about."""
    with _small_registry(sandbox, registry_program, tmp_path) as address:
        small = replace(scene, walk=_moved(scene.walk, address, scene.git.address))
        error = await small.failure()

    says(error, address, "500 Internal Server Error", "has it room?")


@contextmanager
def _small_registry(sandbox: Sandbox, program: Path, folder: Path) -> Iterator[str]:
    """A real one that has two MiB."""
    place = sandbox.place
    own = place.state / "registry"
    config = json.loads((own / "config.json").read_text())
    port = place.port(49)
    storage = folder / "storage"
    storage.mkdir()
    config["storage"]["filesystem"]["rootdirectory"] = str(storage)
    config["http"]["addr"] = f"127.0.0.1:{port}"
    (folder / "config.json").write_text(json.dumps(config))
    serve = f"mount -t tmpfs -o size=2m none {storage} && exec {program} serve {folder / 'config.json'}"
    server = Daemon("small registry", folder / "registry.log")
    server.start(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", serve],
        env=clean_environment(OTEL_TRACES_EXPORTER="none"),
    )
    try:
        wait_until(lambda: _listens(port), subject="the small registry", seconds=20, daemon=server)
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


async def test_a_registry_that_answers_with_errors_or_not_at_all(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's error, a reset and silence are told with the registry's name, and trying again may help."""
    monkeypatch.setattr(registry_api, "_SECONDS", 2.0)
    host = scene.registry.address

    scene.registry.add(Fault("refuse", "GET", "/manifests/", times=99, status=503, message="try later"))
    says(await _passing(scene), host, "503", "try later")
    scene.registry.add(Fault("reset", "GET", "/manifests/", times=99))
    says(await _passing(scene), host, "is it up")
    scene.registry.add(Fault("slow", "GET", "/manifests/", times=99, seconds=4))
    says(await _passing(scene), host, "did not answer within 2 s")
    scene.registry.add(Fault("slow", "", "/", times=99, seconds=0.2))
    await scene.release()
    assert scene.released


async def _passing(scene: Scene) -> InterlockError:
    error = await scene.failure()
    assert isinstance(error, ToolError)
    assert error.transient
    scene.registry.clear()
    return error


async def test_a_registry_that_keeps_something_else(scene: Scene) -> None:
    """What it gives under the pushed digest is compared with what was scanned, byte for byte."""
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": f"sha256:{'1' * 64}"}
    other = json.dumps({"schemaVersion": 2, "config": config, "layers": []})
    scene.registry.add(Fault("refuse", "GET", "/manifests/sha256:", times=9, status=200, message=other))

    error = await scene.failure()

    says(error, scene.walk.image, "something else under this digest")
    assert isinstance(error, RegistryError)
    assert not error.transient


async def test_a_login_that_expires_in_the_middle(scene: Scene, tmp_path: Path) -> None:
    """The push is refused, and the file with the login is named; with a new login the next run releases."""
    registry = scene.walk.host.registry
    assert registry.auth is not None
    good = registry.auth.read_text()
    login = tmp_path / "registry.auth"
    login.write_text(good)
    host = scene.walk.host.model_copy(update={"registry": registry.model_copy(update={"auth": login})})
    own = replace(scene, walk=replace(scene.walk, host=host))

    error = await own.failure(Recorder(before={"push image": lambda: login.write_text("ci:expired")}))

    says(error, own.walk.image, str(login))
    assert "expired" not in str(error).replace("expired?", "")
    login.write_text(good)
    await own.release()
    assert own.released


# the git server --------------------------------------------------------------------------------------


async def test_a_git_server_that_rejects_the_release(scene: Scene) -> None:
    """Its own words are told, and that its rules must let CI's account push; the image is kept for the next run."""
    hooks = scene.walk.environments.bare / "strict"
    hooks.mkdir()
    hook = hooks / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    scene.walk.environments.on_server("config", "core.hooksPath", str(hooks))

    error = await scene.failure()

    says(
        error,
        scene.walk.host.environment_repository.url,
        "main is protected",
        "hook declined",
        "the server's own rules",
    )
    scene.walk.environments.on_server(
        "config", "core.hooksPath", str(git_part.git_folder(scene.walk.environments.place) / "hooks")
    )
    recorder = Recorder()
    await scene.release(recorder)
    assert scene.released
    assert "build image" not in recorder.steps


async def test_a_git_server_that_hangs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first fetch and in the push: it is left after a while, and trying again may help."""
    hurried = [each.replace("lowSpeedTime=60", "lowSpeedTime=2") for each in git._OPTIONS]
    monkeypatch.setattr(git, "_OPTIONS", tuple(hurried))
    scene.git.add(Fault("slow", "", "git-upload-pack", seconds=6, times=9))
    fetching = await scene.failure()
    scene.git.clear()
    scene.git.add(Fault("slow", "POST", "git-receive-pack", seconds=30, times=9))
    pushing = await scene.failure()

    for error in (fetching, pushing):
        says(error, scene.walk.host.environment_repository.url, "too slow")
        assert isinstance(error, GitError)
        assert error.transient


async def test_an_answer_to_the_push_that_gets_lost(scene: Scene) -> None:
    """The release is there, though the run could not know it; the next run finds it, and makes no second one."""
    count = scene.walk.environments.count()
    scene.git.add(Fault("lost", "POST", "git-receive-pack", times=99))
    with pytest.raises(GitError) as caught:
        await scene.release()
    note(caught.value)
    scene.git.clear()
    outcome = await scene.release()

    assert caught.value.transient
    assert str(outcome).endswith("is released already; nothing to do")
    assert scene.walk.environments.count() == count + 1
    scene.require_clean()


async def test_an_environment_repository_that_is_rewritten_meanwhile(scene: Scene) -> None:
    """Somebody forces the branch back just before our push: refused, and nothing is put on top of it."""
    environments = scene.walk.environments
    first = environments.on_server("rev-parse", "main~1")
    with pytest.raises(Refused) as caught:
        await scene.release(Recorder(before={"push release commit": lambda: environments.rewind(first)}))
    note(caught.value)

    assert caught.value.rule == "rewritten"
    says(caught.value, "rewritten" if "rewritten" in str(caught.value) else first[:0])
    assert environments.on_server("rev-parse", "main") == first
    scene.require_clean()


async def test_two_hosts_release_the_same_commit(scene: Scene, tmp_path: Path) -> None:
    """Each has a state folder of its own: both end well, and there is one release commit."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scanner").symlink_to((scene.walk.host.state / "scanner").resolve())
    other = scene.walk.host.model_copy(update={"state": tmp_path / "other"})
    count = scene.walk.environments.count()

    outcomes = await asyncio.gather(scene.release(), release_order(Recorder(), other, "shop", None))

    assert sorted(len(each.written) for each in outcomes) == [0, 1]
    assert scene.walk.environments.count() == count + 1
    scene.require_clean()


# the host --------------------------------------------------------------------------------------------


async def test_a_workspace_without_room(scene: Scene) -> None:
    """The step, the file and what to do; with room again the next run releases."""
    runs = scene.walk.host.state / "runs"
    runs.mkdir(mode=0o700)
    with _small_disk(runs):
        error = await scene.failure()

    says(error, "export image", str(runs), "No space left on device", "make room on that disk")
    assert isinstance(error, ToolError)
    assert not error.transient
    await scene.release()
    assert scene.released


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_scanner_that_is_killed(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not scanned is never clean: blocked, but not for good, and a step that Prefect runs tries again."""
    real, once = scanner._binary(), tmp_path / "once"
    program = tmp_path / "trivy"
    program.write_text(f'#!/bin/sh\nif [ "$1" = image ]; then kill -9 $$; fi\nexec {real} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(scanner, "_binary", lambda: program)

    error = await scene.failure()

    assert isinstance(error, Blocked)
    assert error.reasons == ("image: not scanned: trivy image was killed (SIGKILL)",)
    assert read_decided(scene.walk.host.state, "shop") is None
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = image ] && [ ! -e {once} ]; then : > {once}; kill -9 $$; fi\nexec {real} "$@"\n'
    )
    await scene.release(Retrying())
    assert scene.released


class Retrying(Recorder):
    """Tries once more what calls itself transient, as Prefect does."""

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await super().step(effect, *args, **kwargs)
        except ToolError as error:
            if not (error.transient and effect.retries):
                raise
            return await super().step(effect, *args, **kwargs)
