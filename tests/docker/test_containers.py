"""Building images and running tests in them: what they may not reach, and what comes of every failure."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock.ci.build_key import bases_of
from interlock.ci.junit import TestRun
from interlock.contract.models import BuildRules, Component, Tests
from interlock.errors import DockerError, FormatError, InterlockError
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from tasks.ci.images import Image, build_image, build_test_image, daemon, remove_image
from tasks.ci.tests import run_tests
from tasks.ci.workspace import sweep, workspace

BASE = "FROM interlock.sandbox/python:3.11\n"
GOOD = "<testsuite><testcase name='a'/></testsuite>"
ANY = BuildRules()
Build = Callable[..., Image]
Run = Callable[..., TestRun]


@pytest.fixture
def build(docker_daemon: Docker, base_image: BaseImage, tmp_path: Path) -> Iterator[Build]:
    """Builds a folder with these files; the images are removed afterwards."""
    names: list[str] = []

    def make(
        files: dict[str, str],
        component: Component | None = None,
        *,
        said: list[str] | None = None,
        rules: BuildRules = ANY,
    ) -> Image:
        folder = tmp_path / uuid.uuid4().hex
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, newline="")
        names.append(f"interlock-test/{uuid.uuid4().hex}:1")
        return build_image.fn(
            docker_daemon.docker_host,
            folder,
            component or Component(tests=Tests(command=("true",))),
            tag=names[-1],
            labels={"org.opencontainers.image.revision": "abc"},
            seconds=120,
            say=(said if said is not None else []).append,
            rules=[rules],
        )

    yield make
    for name in names:
        remove_image.fn(docker_daemon.docker_host, name)


@pytest.fixture
def run(build: Build, docker_daemon: Docker) -> Run:
    """Runs a Python program as the tests of an image that has nothing else."""
    image = build({"Dockerfile": BASE + "USER 10001\n"})

    def make(program: str, **options: object) -> TestRun:
        tests = Tests.model_validate({"command": ("python", "-c", program), **options})
        return run_tests.fn(docker_daemon.docker_host, image.id, tests, run="test")

    return make


def test_a_build_is_labelled_and_told_line_by_line(build: Build) -> None:
    """The log's lines are the run's."""
    said: list[str] = []

    image = build({"Dockerfile": BASE + "RUN echo hello\n"}, said=said)

    assert image.labels["org.opencontainers.image.revision"] == "abc"
    assert "Step 2/5 : RUN echo hello" in said
    assert "hello" in said


def test_a_failing_step_is_quoted(build: Build) -> None:
    """The step, what it printed, and that there is no network."""
    with pytest.raises(DockerError) as caught:
        build({"Dockerfile": BASE + "RUN echo compiling && false\n"})

    assert "failed in Step 2/5 : RUN echo compiling && false" in caught.value.message
    assert "  | compiling" in caught.value.message


def test_a_build_has_no_network(build: Build) -> None:
    """Only the loopback is there."""
    said: list[str] = []
    look = "import os; print(sorted(os.listdir('/sys/class/net')))"

    build({"Dockerfile": BASE + f'RUN python -c "{look}"\n'}, said=said)

    assert "['lo']" in said


def test_a_build_fetches_nothing_by_way_of_the_daemon(build: Build) -> None:
    """The daemon has a network, and an ADD would use it: a carriage return parts words as a blank does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"

        with pytest.raises(FormatError, match="Dockerfile:2: ADD"):
            build({"Dockerfile": f"{BASE}ADD\r{address} /x\n"})
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_build_stands_on_what_its_names_meant_before_it(build: Build, docker_daemon: Docker) -> None:
    """Each is looked up once, said, and in the image's own words; the build names it by its digest."""
    said: list[str] = []
    text = f"ARG TAG=3.11\n{BASE.replace('3.11', '${TAG}')}COPY --from=interlock.sandbox/python:3.11 /bin/sh /copied\n"

    image = build({"Dockerfile": text}, said=said)

    with daemon(docker_daemon.docker_host) as client:
        found = client.images.get("interlock.sandbox/python:3.11").id
    assert f"interlock.sandbox/python:3.11 is {found}" in said
    assert f"Step 2/6 : FROM {found}" in said
    assert f"Step 3/6 : COPY --from={found} /bin/sh /copied" in said
    assert [(each.name, each.id) for each in bases_of(image.labels)] == [("interlock.sandbox/python:3.11", found)]


STAGES = f"""\
ARG VERSION=1
{BASE.strip()} AS web
ARG VERSION
RUN echo "$VERSION" > /version
FROM web AS test
COPY check.py /check.py
FROM web AS last
RUN touch /last
"""


def test_a_target_ships_and_tests_run_in_a_stage_on_it(build: Build, docker_daemon: Docker, tmp_path: Path) -> None:
    """The stage below the tests' is the very image; arguments reach the build; the last stage is not built."""
    check = f"assert open('/version').read() == '2\\n'; {write(GOOD)}"
    files = {"Dockerfile": STAGES, "check.py": check}
    component = Component(
        target="web", arguments={"VERSION": "2"}, tests=Tests(command=("python", "/check.py"), target="test")
    )
    said: list[str] = []
    image, url = build(files, component, said=said), docker_daemon.docker_host
    assert not any("/last" in line for line in said)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    order = {"tag": "interlock-test/on:1", "run": "dead", "seconds": 60, "say": said.append, "rules": [ANY]}

    on = build_test_image.fn(url, tmp_path, component, on=image.id, **order)  # type: ignore[arg-type]

    assert run_tests.fn(url, on.id, component.tests, run="test").problems == ()
    with daemon(url) as client:
        below, above = (client.images.get(each).attrs["RootFS"]["Layers"] for each in (image.id, on.id))
        assert above[: len(below)] == below
        assert len(above) == len(below) + 1
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "dead.lock").touch()
        sweep.fn(tmp_path, url)
        assert not client.images.list(filters={"label": "interlock.run=dead"})


def test_what_cannot_be_resolved_is_told_with_its_line(build: Build) -> None:
    """Whether there is none, or the registry cannot be asked: no step ran."""
    with pytest.raises(InterlockError, match=r"Dockerfile:2: interlock.invalid/none:1 cannot be resolved"):
        build({"Dockerfile": BASE + "COPY --from=interlock.invalid/none:1 /x /\n"})


def test_a_build_takes_only_what_policy_allows(build: Build) -> None:
    """By the whole name, before anything is built."""
    allowed = BuildRules(images=("interlock.sandbox/*",))

    build({"Dockerfile": BASE}, rules=allowed)
    with pytest.raises(FormatError, match=r"Dockerfile:2: the image interlock.other/x is not among those"):
        build({"Dockerfile": BASE + "COPY --from=interlock.other/x /x /\n"}, rules=allowed)


def test_a_base_that_fetches_on_build_is_refused(build: Build, docker_daemon: Docker) -> None:
    """Its ONBUILD instructions would run with the daemon's network."""
    image = build({"Dockerfile": f"{BASE}LABEL x=y\n"})
    with daemon(docker_daemon.docker_host) as client:
        container = client.api.create_container(image.id, ["true"])
        client.api.commit(container["Id"], "interlock-test/trap", "1", changes=["ONBUILD ADD http://127.0.0.1:1/x /x"])
        client.api.remove_container(container["Id"])
        try:
            with pytest.raises(FormatError, match="Dockerfile:1: interlock-test/trap:1 has the instruction ONBUILD"):
                build({"Dockerfile": "FROM interlock-test/trap:1\n"})
        finally:
            client.api.remove_image("interlock-test/trap:1")


def test_context_and_dockerfile_may_lie_elsewhere(build: Build) -> None:
    """Both relative to the repository; .dockerignore is the context's."""
    files = {
        "build/web.Dockerfile": BASE + "COPY . /app\nRUN ls /app\n",
        "web/app.py": "",
        "web/notes.txt": "",
        "web/.dockerignore": "notes.txt\n",
    }
    said: list[str] = []

    build(
        files,
        Component(context="web", dockerfile="build/web.Dockerfile", tests=Tests(command=("true",))),
        said=said,
    )

    assert "app.py" in said
    assert "notes.txt" not in said


def test_a_daemon_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its address; trying again may help."""
    with pytest.raises(DockerError, match="docker at unix:") as caught, daemon(f"unix://{tmp_path}/none.sock"):
        pass

    assert caught.value.transient


def write(text: str) -> str:
    return f"open('/tmp/junit.xml', 'w').write({text!r})"


def test_a_report_is_read_out_of_the_container(run: Run) -> None:
    """And nothing is left of it."""
    result = run(write(GOOD) + "; print('done')")

    assert result.problems == ()
    assert result.report is not None
    assert result.report.passed == ("a",)
    assert result.log == ("done",)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("pass", "left no report at /tmp/junit.xml"),
        ("import os; os.symlink('/etc/passwd', '/tmp/junit.xml')", "not a regular file"),
        ("import os; os.mkdir('/tmp/junit.xml')", "not a regular file"),
        ("import os; os.mkfifo('/tmp/junit.xml')", "not a regular file"),
        ("open('/tmp/junit.xml', 'w').truncate(40 << 20)", "larger than"),
        (write("<!DOCTYPE x>"), "DOCTYPE"),
        (write("<testsuite/>"), "no test ran"),
        (write(GOOD) + "; raise SystemExit(3)", "exit code 3, though no case failed"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137"),
    ],
    ids=["none", "symlink", "folder", "pipe", "large", "doctype", "zero", "exit code", "killed"],
)
def test_what_is_no_good_report_does_not_pass(run: Run, program: str, said: str) -> None:
    """Each with its reason."""
    problems = run(program).problems

    assert len(problems) == 1
    assert said in problems[0]


def test_tests_that_do_not_end_are_stopped(run: Run) -> None:
    """Even when a good report lies there already."""
    result = run(write(GOOD) + "; import time; time.sleep(100)", timeout_seconds=2)

    assert result.problems == ("stopped after 2 s, as interlock.yaml asks",)
    assert result.seconds < 60


LOOK = """
import json, os, socket, subprocess, sys
def tries(action):
    try:
        action()
        return "yes"
    except OSError as error:
        return error.strerror
status = open('/proc/self/status').read()
seen = {
    "net": sorted(os.listdir("/sys/class/net")),
    "docker": os.path.exists("/var/run/docker.sock"),
    "write": tries(lambda: open("/app", "w")),
    "user": os.getuid(),
    "caps": [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapBnd"))],
    "nonewprivs": "NoNewPrivs:\\t1" in status,
    "environment": sorted(os.environ),
}
print(json.dumps(seen))
"""


def test_tests_reach_nothing(run: Run) -> None:
    """No network, no Docker, nothing to write to, the image's user without capabilities, none of our variables."""
    seen = json.loads(run(LOOK).log[-1])

    assert seen["net"] == ["lo"]
    assert not seen["docker"]
    assert seen["write"] == "Read-only file system"
    assert seen["user"] == 10001
    assert set(seen["caps"]) == {"0000000000000000"}
    assert seen["nonewprivs"]
    assert set(seen["environment"]) <= {"HOME", "HOSTNAME", "PATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}


def test_processes_are_limited(run: Run) -> None:
    """A fork bomb fails in its own container."""
    bomb = "import os\nfor n in range(1000):\n    if os.fork() == 0:\n        import time; time.sleep(5); os._exit(0)"

    assert "Resource temporarily unavailable" in "\n".join(run(bomb, timeout_seconds=30).log)


def test_a_sweep_removes_only_what_the_dead_left(docker_daemon: Docker, build: Build, tmp_path: Path) -> None:
    """A folder and a container of a run that nobody holds; a living run keeps its own."""
    image = build({"Dockerfile": BASE})
    url = docker_daemon.docker_host
    with workspace(tmp_path, "living") as living, daemon(url) as client:
        (tmp_path / "runs" / "dead").mkdir()
        (tmp_path / "runs" / "dead.lock").touch()
        for name in ("living", "dead"):
            client.containers.create(image.id, ["true"], labels={"interlock.run": name})

        assert sweep.fn(tmp_path, url) == ("dead",)

        left = client.containers.list(all=True, filters={"label": "interlock.run"})
        assert [container.labels["interlock.run"] for container in left] == ["living"]
        assert living.folder.is_dir()
        assert not (tmp_path / "runs" / "dead").exists()
        left[0].remove()
    assert not living.folder.exists()
