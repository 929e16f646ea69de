"""Images built with BuildKit: the same twice, with secrets that stay out of them, from nothing but what is pinned."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.ci.check import Checked, check_order
from interlock.ci.build_key import bases_of
from interlock.ci.builder import builder_of
from interlock.ci.host import BuildKit as Settings
from interlock.ci.host import CiHost, Trivy
from interlock.ci.part import Part
from interlock.contract.canonical import digest
from interlock.contract.evidence import Base
from interlock.contract.host import EnvironmentRemote, Registry, RootPin, Signing
from interlock.contract.models import BuildRules, Component, Tests
from interlock.contract.secret_text import MASK
from interlock.errors import DockerError, FormatError, InputError
from sandbox.part import wait_until
from sandbox.parts import registry as registry_part
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.buildkit import BuildKit
from sandbox.parts.docker import Docker
from sandbox.parts.registry import Registry as RegistryPart
from tasks.ci import builder
from tasks.ci.buildx import Via
from tasks.ci.images import Image, build_image, build_test_image, daemon, push_image, remove_image, remove_left
from tasks.ci.scanner import local_scanner
from tasks.ci.tests import run_tests
from tasks.common.stopping import stoppable
from tests import examples_of_repositories as example
from tests.docker.recorder import Recorder

EPOCH = 1_700_000_000
PLAIN = Component(tests=Tests(command=("true",)))
GOOD = "open('/tmp/junit.xml', 'w').write('<testsuite><testcase name=\"a\"/></testsuite>')\n"


@dataclass
class Builder:
    """Builds folders of files, and remembers what was said."""

    docker: str
    via: Via
    base: str
    digest: str
    folder: Path
    said: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        assert self.via.registry is not None
        return self.via.registry

    @property
    def login(self) -> str:
        assert self.registry.auth is not None
        return self.registry.auth.read_text().strip()

    def files(self, files: dict[str, str]) -> Path:
        folder = self.folder / uuid.uuid4().hex
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    def __call__(self, dockerfile: str, component: Component = PLAIN, **more: Any) -> Image:
        self.names.append(f"interlock-test/{uuid.uuid4().hex}:1")
        files = {"Dockerfile": f"FROM {self.base}\n{dockerfile}", **more.pop("files", {})}
        options = {"via": self.via, "epoch": EPOCH, "seconds": 300, "labels": {"a": "b"}, **more}
        return build_image.fn(
            self.docker, self.files(files), component, tag=self.names[-1], say=self.said.append, **options
        )


@pytest.fixture(scope="module")
def base(docker_daemon: Docker, base_image: BaseImage, registry: RegistryPart) -> tuple[str, str]:
    """The base image in the registry, where BuildKit finds it: its name and digest."""
    repository, auth = f"{registry.place.registry}/base/python", registry_part.credentials(registry.place, "ci")
    with daemon(docker_daemon.docker_host) as client:
        found = str(client.images.get("interlock.sandbox/python:3.11").id)
    url = docker_daemon.docker_host
    return f"{repository}:3", push_image.fn(url, found, repository=repository, tag="3", auth=auth)


@pytest.fixture(params=["buildkitd", "docker"])
def build(request: pytest.FixtureRequest, alone: Builder) -> Builder:
    """With a daemon of BuildKit's own, and with the one in Docker's."""
    if request.param == "docker":
        alone.via = replace(alone.via, settings=alone.via.settings.model_copy(update={"address": None}))
    return alone


@pytest.fixture
def alone(
    docker_daemon: Docker,
    registry: RegistryPart,
    buildkit_daemon: BuildKit,
    base: tuple[str, str],
    tmp_path: Path,
) -> Iterator[Builder]:
    """With a daemon of BuildKit's own."""
    place = registry.place
    auth = registry_part.credentials(place, "ci")
    via = Via(
        Settings(buildx=buildkit_daemon.buildx, address=buildkit_daemon.address),
        Registry(host=place.registry, auth=auth, insecure=True),
        namespace=f"shop-{uuid.uuid4().hex[:8]}",
    )
    builder = Builder(docker_daemon.docker_host, via, *base, tmp_path)
    yield builder
    for name in builder.names:
        remove_image.fn(builder.docker, name)


def configuration(builder: Builder, image: Image) -> dict[str, Any]:
    with daemon(builder.docker) as client:
        found: dict[str, Any] = client.images.get(image.id).attrs
        found["History"] = client.api.history(image.id)  # type: ignore[no-untyped-call]
    return found


def test_a_base_is_pinned_by_the_registrys_digest(build: Builder) -> None:
    """BuildKit is asked for that one; the image says so itself."""
    image = build("RUN echo hello\n")

    repository = build.base.rpartition(":")[0]
    assert f"{build.base} is {build.digest}" in build.said
    assert any(f"FROM {repository}@{build.digest}" in line for line in build.said)
    assert [(each.name, each.digest) for each in bases_of(image.labels)] == [(build.base, build.digest)]
    assert image.labels["a"] == "b"
    assert image.labels["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"


def test_a_tag_that_moved_in_the_registry_is_followed(alone: Builder) -> None:
    """Though the daemon still has the old image under it; without the registry, that one is taken, and told."""
    name, login = f"{alone.registry.host}/{alone.via.namespace}/moved", alone.registry.auth
    with daemon(alone.docker) as client:
        old = str(client.images.get(alone.base).id)
        first = push_image.fn(alone.docker, old, repository=name, tag="1", auth=login)
        other = alone("RUN echo new > /new\n")
        moved = push_image.fn(alone.docker, other.id, repository=name, tag="1", auth=login)
        client.api.tag(old, name, "1")
    alone.names.append(f"{name}:1")
    alone.base = f"{name}:1"

    image = alone("RUN cat /new\n")
    with daemon(alone.docker) as client:
        client.api.tag(old, name, "1")
    alone.via = replace(alone.via, registry=alone.registry.model_copy(update={"auth": None}))
    with contextlib.suppress(DockerError):  # BuildKit may not read there either, unless it remembers
        alone("RUN ls /\n")

    assert [each.digest for each in bases_of(image.labels)] == [moved]
    assert f"{name}:1 is {first}" in alone.said
    assert any("what the daemon has is taken" in line for line in alone.said)


def test_a_base_that_is_in_no_registry_is_refused(alone: Builder) -> None:
    """With its line: BuildKit could only ask for a name, which may mean something else by then."""
    with pytest.raises(FormatError, match=r"Dockerfile:2: interlock.sandbox/python:3.11 is in no registry"):
        alone("COPY --from=interlock.sandbox/python:3.11 /bin/sh /x\n")


def test_a_build_has_no_network_and_fails_with_its_log(build: Builder) -> None:
    """Only the loopback is there; the failing step is named."""
    with pytest.raises(DockerError) as failed:
        build("RUN python -c \"import os; print(sorted(os.listdir('/sys/class/net')))\" && false\n")

    assert "['lo']" in failed.value.message
    assert "failed in [" in failed.value.message
    assert "RUN python" in failed.value.message.partition("\n")[0]


def test_cache_mounts_are_a_repositorys_own(build: Builder) -> None:
    """They keep what its last build wrote, and others see nothing of it."""
    step = "RUN --mount=type=cache,target=/c : {}; echo x >> /c/n; wc -l < /c/n > /n; echo LINES$(cat /n)\n"

    def lines(number: int, **more: Any) -> list[str]:
        build.said.clear()
        build(step.format(number), **more)
        return [found[0] for line in build.said if (found := re.search(r"LINES\d", line))]

    assert lines(1) == ["LINES1"]
    assert lines(2) == ["LINES2"]
    assert lines(3, via=replace(build.via, namespace="another")) == ["LINES1"]


def test_the_same_inputs_give_the_same_image(alone: Builder) -> None:
    """Built anew, at another time, from files with other times; another commit's time gives another."""
    recipe = "COPY a /a\nRUN mkdir /d && touch /d/x\n"
    fresh = replace(alone.via, fresh=True)

    first = alone(recipe, files={"a": "1"}, via=fresh)
    second = alone(recipe, files={"a": "1"}, via=fresh)
    later = alone(recipe, files={"a": "1"}, via=fresh, epoch=EPOCH + 60)

    assert first.id == second.id
    assert later.id != first.id
    assert configuration(alone, first)["Created"].startswith("2023-11-14T22:13:20")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"canary-{os.urandom(8).hex()}\n")
    return tmp_path / "token"


@pytest.mark.parametrize("lines", [1, 3])
def test_a_secret_reaches_its_step_and_nothing_else(build: Builder, secret: Path, tmp_path: Path, lines: int) -> None:
    """Neither a layer, the history, an argument, nor the log, though the step prints it, as it is and as base64."""
    secret.write_text("".join(f"canary-{os.urandom(8).hex()}\n" for _ in range(lines)))
    canary, encoded = secret.read_text().strip(), base64.b64encode(secret.read_bytes()).decode()
    via = replace(build.via, secrets={"token": secret}, settings=recorded(build.via.settings, tmp_path))
    step = "RUN --mount=type=secret,id=token wc -c /run/secrets/token; base64 -w 0 /run/secrets/token; "
    step += f"echo; cat /run/secrets/token; echo ' was it, of {lines}'\n"  # a secret alone makes no other step

    image = build(step, via=via)

    assert any(f"{len(canary) + 1} /run/secrets/token" in line for line in build.said)
    assert sum(MASK in line for line in build.said) >= 1 + lines
    assert not [line for line in build.said for part in (*canary.split("\n"), encoded.rstrip("=")) if part in line]
    assert canary not in json.dumps(configuration(build, image))
    assert canary not in (tmp_path / "arguments").read_text()
    assert f"id=token,src={secret}" in (tmp_path / "arguments").read_text()
    with daemon(build.docker) as client:
        assert canary.encode() not in b"".join(client.api.get_image(image.id))


def recorded(settings: Settings, folder: Path) -> Settings:
    """buildx, which writes down with what arguments and variables it was called."""
    program = folder / "buildx"
    program.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >> {folder}/arguments\nexec {settings.buildx} "$@"\n')
    program.chmod(0o755)
    return settings.model_copy(update={"buildx": program})


def test_a_stopped_step_ends_its_build(alone: Builder) -> None:
    """Nobody waits for its result any more: it does not go on until its time is up."""
    stop, context = stoppable()
    failed: list[DockerError] = []

    def building() -> None:
        with pytest.raises(DockerError) as caught:
            alone("RUN echo begun && sleep 600\n")
        failed.append(caught.value)

    thread = threading.Thread(target=context.run, args=(building,))
    thread.start()
    wait_until(lambda: any("begun" in line for line in alone.said), subject="the step", seconds=60)

    stop.ask()

    thread.join(30)
    assert not thread.is_alive()
    assert len(failed) == 1


@pytest.mark.parametrize(
    "step",
    ["cp /run/secrets/token /kept", "cat /run/secrets/token > /kept && rm /kept && cp /run/secrets/token /again"],
)
def test_a_secret_that_a_step_copies_stops_the_build(alone: Builder, secret: Path, step: str) -> None:
    """The image is gone before anybody could push it."""
    with pytest.raises(InputError, match="the build secret token lies in the image"):
        alone(f"RUN --mount=type=secret,id=token {step}\n", via=replace(alone.via, secrets={"token": secret}))

    with daemon(alone.docker) as client:
        assert not client.api.images(name=alone.names[-1])


def test_layers_are_kept_in_the_registry(alone: Builder) -> None:
    """Beside the images; a builder that has nothing takes them from there."""
    repository = f"{alone.registry.host}/{alone.via.namespace}/web"
    alone("RUN echo long work > /x\n", via=replace(alone.via, cache=repository))

    user, _, password = alone.login.partition(":")
    found = httpx.get(
        f"http://{alone.registry.host}/v2/{alone.via.namespace}/web/manifests/il-cache",
        auth=(user, password),
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        trust_env=False,
    )
    assert found.status_code == 200
    assert found.json()["layers"]


def test_tests_run_in_a_stage_on_the_very_image(build: Builder) -> None:
    """Built by the daemon's own BuildKit, which has it; its layers come first."""
    dockerfile = "RUN date +%N > /when\nFROM web AS test\nCOPY check.py /check.py\n"
    component = Component(target="web", tests=Tests(command=("python", "/check.py"), target="test"))
    build.base, base = f"{build.base} AS web", build.base
    files = {"check.py": GOOD}
    image = build(dockerfile, component, files=files)
    source = build.files({"Dockerfile": f"FROM {base} AS web\n{dockerfile}", **files})
    tag = f"interlock-test/on:{uuid.uuid4().hex}"
    build.names.append(tag)

    on = build_test_image.fn(
        build.docker,
        source,
        component,
        on=image.id,
        tag=tag,
        run="test",
        seconds=60,
        say=build.said.append,
        rules=[BuildRules()],
        via=build.via,
    )

    below, above = (configuration(build, each)["RootFS"]["Layers"] for each in (image, on))
    assert above[: len(below)] == below
    assert run_tests.fn(build.docker, on.id, component.tests, run="test").problems == ()
    with daemon(build.docker) as client:
        assert not client.api.images(name="interlock-test/shipped")
        client.api.tag(image.id, "interlock-test/shipped", "dead-1")
        client.api.tag(image.id, "interlock-test/shipped", "living-1")
        remove_left(build.docker, run="dead")
        (left,) = client.api.images(name="interlock-test/shipped")
        assert [each for each in left["RepoTags"] if "shipped" in each] == ["interlock-test/shipped:living-1"]
    build.names.append("interlock-test/shipped:living-1")


def test_a_build_that_takes_too_long_is_stopped(build: Builder) -> None:
    """With what it said."""
    with pytest.raises(DockerError, match="it took longer than 3 s"):
        build("RUN echo begun && sleep 60\n", seconds=3)


def test_a_frontend_and_an_address_need_policy(alone: Builder) -> None:
    """Both are refused where nothing allows them, before anything is fetched."""
    with pytest.raises(FormatError, match="Dockerfile:1: the frontend docker/dockerfile:1 is not among those"):
        build_image.fn(
            alone.docker,
            alone.files({"Dockerfile": f"# syntax=docker/dockerfile:1\nFROM {alone.base}\n"}),
            PLAIN,
            tag="interlock-test/x:1",
            labels={},
            seconds=60,
            say=alone.said.append,
            via=alone.via,
        )
    with pytest.raises(FormatError, match=r"Dockerfile:2: the address http://h.example/x is not among those"):
        alone(f"ADD --checksum=sha256:{'0' * 64} http://h.example/x /x\n")


@pytest.fixture
def address() -> Iterator[str]:
    """Where a file with the content `1` can be fetched."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1")

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x"
        server.shutdown()


def test_an_allowed_address_is_fetched_by_its_checksum(alone: Builder, address: str) -> None:
    """And stands among what the image was made from; other bytes stop the build."""
    allowed = [BuildRules(addresses=("http://127.0.0.1:*",))]
    right, wrong = digest(b"1"), digest(b"2")

    image = alone(f"ADD --checksum={right} {address} /x\n", rules=allowed)
    assert bases_of(image.labels)[-1] == Base(address, "", right, "address")
    with pytest.raises(DockerError, match="digest mismatch"):
        alone(f"ADD --checksum={wrong} {address} /x\n", rules=allowed)


async def test_a_desk_builds_as_ci_does(alone: Builder) -> None:
    """With the daemon's BuildKit and the person's accounts: mounts are there, and a stage for the tests."""
    shipped = f"FROM {alone.base} AS web\nRUN --mount=type=cache,target=/c id\nUSER 10001\n"
    dockerfile = f"{shipped}FROM web AS test\nCOPY check.py /check.py\n"
    described = """\
format: 1
components:
  web:
    target: web
    tests: {command: [python, /check.py], target: test}
"""
    folder = alone.files({"Dockerfile": dockerfile, "check.py": GOOD, "interlock.yaml": described})
    program = local_scanner(folder, pinned=True)

    async def check(buildx: Path | None) -> Checked:
        return await check_order(
            Recorder(), folder, None, program=program, docker=alone.docker, buildx=buildx, only=Part.TESTS
        )

    assert (await check(alone.via.settings.buildx)).passed
    with pytest.raises(DockerError, match="requires BuildKit"):
        await check(None)


KILLED = """
import sys
from pathlib import Path
from interlock.ci.host import BuildKit
from interlock.contract.host import Registry
from interlock.contract.models import Component, Tests
from tasks.ci.buildx import Via
from tasks.ci.images import build_image
docker, buildx, address, registry, auth, secret, source, work = sys.argv[1:]
via = Via(
    BuildKit(buildx=Path(buildx), address=address),
    Registry(host=registry, auth=Path(auth), insecure=True),
    namespace="killed",
    secrets={"token": Path(secret)},
)
build_image.fn(
    docker, Path(source), Component(tests=Tests(command=("true",))), tag="interlock-test/killed:1", labels={},
    seconds=60, say=lambda line: print(line, flush=True), via=via, work=Path(work),
)
"""


def test_a_killed_build_leaves_nothing_but_in_its_folder(alone: Builder, secret: Path, tmp_path: Path) -> None:
    """Which the next run removes: it has the registry's account in it. buildx ends with the run."""
    source, work = alone.files({"Dockerfile": f"FROM {alone.base}\nRUN echo now && sleep 60\n"}), tmp_path / "work"
    work.mkdir()
    settings, account = alone.via.settings, alone.registry
    words = (alone.docker, settings.buildx, settings.address, account.host, account.auth, secret, source, work)
    before = set(Path(tempfile.gettempdir()).glob("build-*"))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if re.search(r"\d now$", line.strip()))
        process.kill()

    ends = time.monotonic() + 10
    while running(work) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not running(work)
    assert list(work.rglob("config.json"))
    assert set(Path(tempfile.gettempdir()).glob("build-*")) == before


def running(work: Path) -> list[Path]:
    """Programs that were started with something in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(work).encode() in (process / "cmdline").read_bytes():
                found.append(process)
    return found


def test_docker_buildx_is_found_where_docker_puts_it(
    alone: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And builds with the daemon's BuildKit, as the image says; without it the classic builder does."""
    host = CiHost(
        format=1,
        prefect="http://127.0.0.1:1/api",
        state=tmp_path,
        environment_repository=EnvironmentRemote(
            name="environments",
            url="http://127.0.0.1:1/e.git",
            root=RootPin(commit="a" * 40, keys=(example.PERSON_KEY,)),
        ),
        registry=alone.registry,
        signing=Signing(signer="ci", key=tmp_path / "key"),
        docker=alone.docker,
        trivy=Trivy(cache=tmp_path),
    )
    plugins = tmp_path / "plugins"
    monkeypatch.setattr(builder, "FOLDERS", (plugins,))
    without = builder.choose_builder.fn(host)
    plugins.mkdir()
    (plugins / "docker-buildx").symlink_to(alone.via.settings.buildx)
    found = builder.choose_builder.fn(host)

    assert without.buildkit is None
    assert builder_of(alone("RUN echo hello\n", via=None, epoch=None).labels) == "classic"
    assert found.buildkit is not None and found.buildkit.address is None
    made = alone("RUN echo hello\n", via=replace(alone.via, settings=found.buildkit))
    assert builder_of(made.labels) == "docker-buildkit"
    assert builder_of(alone("RUN echo hello\n").labels) == "buildkitd"
