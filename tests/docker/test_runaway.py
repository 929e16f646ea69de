"""Builds and tests that do not end by themselves, or take all there is: stopped in time, and nothing is left."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from interlock.ci.host import BuildLimits
from interlock.ci.junit import TestRun
from interlock.contract.models import Component, Tests
from interlock.errors import DockerError
from sandbox.part import Daemon, clean_environment, wait_until
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker, answers
from sandbox.supervisor import Sandbox
from tasks.ci.images import build_image, daemon, remove_image, remove_left
from tasks.ci.kept_log import LogPlace
from tasks.ci.tests import run_tests
from tests.docker.test_faults import note

pytestmark = pytest.mark.timeout(300)
BASE = "FROM interlock.sandbox/python:3.11\n"
SECONDS = 8

FORKS = "import os,time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(20)\n"
PRINTS = "while True: print('all work and no play ' * 20)"
WRITES = "import itertools,os\nfor n in itertools.count():\n    open(f'/tmp/{n}', 'wb').write(os.urandom(4 << 20))"
DEAF = "import signal,time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(1000)"


@pytest.fixture
def failing(docker_daemon: Docker, base_image: BaseImage, tmp_path: Path) -> Failing:
    """Builds with one program as a step, which must fail; no container is left by it."""
    return Failing(docker_daemon.docker_host, tmp_path)


class Failing:
    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def __call__(
        self,
        program: str,
        *,
        seconds: int = SECONDS,
        said: list[str] | None = None,
        limits: BuildLimits | None = None,
        log: LogPlace | None = None,
    ) -> DockerError:
        before = containers(self.url)
        lines: list[str] = [] if said is None else said
        tag = f"interlock-test/{uuid.uuid4().hex}:1"
        (self.folder / "program.py").write_text(program)
        (self.folder / "Dockerfile").write_text(f"{BASE}COPY program.py /program.py\nRUN python /program.py\n")
        with pytest.raises(DockerError) as caught:
            build_image.fn(
                self.url,
                self.folder,
                Component(tests=Tests(command=("true",))),
                tag=tag,
                labels={},
                seconds=seconds,
                say=lines.append,
                limits=limits,
                log=log,
            )
        note(caught.value)
        wait_for(lambda: containers(self.url) <= before)
        with daemon(self.url) as client:
            assert not client.images.list(name=tag.partition(":")[0])
        return caught.value


def containers(url: str) -> set[str]:
    with daemon(url) as client:
        return {each["Id"] for each in client.api.containers(all=True)}


def wait_for(holds: Callable[[], bool], *, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.2)


def test_all_that_tests_print_is_kept(run: Callable[..., TestRun], tmp_path: Path) -> None:
    """Within its bound, which endless output meets too."""
    place = LogPlace(tmp_path / "logs" / "tests.log.gz", most_bytes=1 << 20, most_files=2)
    found = run("for n in range(5000): print('line', n)", log=place)

    kept = gzip.decompress(place.path.read_bytes()).decode().splitlines()
    assert kept == [f"line {n}" for n in range(5000)]
    assert found.log == tuple(kept[-100:])

    run(PRINTS, log=place)
    assert len(gzip.decompress(place.path.read_bytes())) <= (1 << 20) + 100


@pytest.mark.parametrize("program", [FORKS, PRINTS, DEAF], ids=["forks", "prints", "deaf"])
def test_a_build_that_does_not_end_is_stopped(failing: Failing, program: str) -> None:
    """After the host's limit, with the step that did not end; what it printed is bounded."""
    said: list[str] = []
    began = time.monotonic()

    error = failing(program, said=said)

    assert f"stopped after {SECONDS} s in Step 3/" in error.message
    assert "build_seconds" in error.hint
    assert not error.transient
    assert len(said) < 2100
    assert len(error.message) < 20_000
    assert time.monotonic() - began < 15 * SECONDS


def test_a_build_that_fills_the_disk(base_archive: Path, tmp_path: Path) -> None:
    """It ends with the step and what to do, and the room that it took is given back."""
    with small_daemon(base_archive, tmp_path) as url:
        free = _free(url)
        (tmp_path / "context").mkdir()
        error = Failing(url, tmp_path / "context")(WRITES, seconds=120)

        assert "No space left on device" in error.message
        assert "RUN python /program.py" in error.message
        assert "make room" in error.hint
        wait_for(lambda: abs(_free(url) - free) < 16 << 20)


@pytest.fixture(scope="module")
def base_archive(base_image: BaseImage) -> Path:
    """Where it is, before a test has a home of its own."""
    return base_image.recipe.archive


@contextmanager
def small_daemon(base_archive: Path, folder: Path) -> Iterator[str]:
    """A Docker daemon of its own, whose disk has 300 MiB."""
    with TemporaryDirectory(prefix="dockerd-") as short:  # a socket's path has at most 107 bytes
        yield from _small_daemon(base_archive, folder, Path(short))


def _small_daemon(base_archive: Path, folder: Path, short: Path) -> Iterator[str]:
    data, config = folder / "data", folder / "daemon.json"
    data.mkdir()
    socket = folder / "docker.sock"
    said = {
        "hosts": [f"unix://{socket}"],
        "data-root": str(data),
        "exec-root": str(short),
        "pidfile": str(folder / "docker.pid"),
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "shutdown-timeout": 2,
    }
    config.write_text(json.dumps(said))
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--propagation", "private"]
    serve = f"mount -t tmpfs -o size=300m none {data} && exec dockerd --config-file {config}"
    process = Daemon("small docker", folder / "docker.log")
    process.start([*own, "sh", "-c", serve], env=clean_environment(HOME=str(folder)))
    try:
        wait_until(lambda: answers(socket), subject="the small daemon", seconds=60, daemon=process)
        with daemon(f"unix://{socket}") as client:
            client.api.import_image(str(base_archive), repository="interlock.sandbox/python", tag="3.11")
        yield f"unix://{socket}"
    finally:
        process.stop()


def _free(url: str) -> int:
    """Bytes on the daemon's disk, which only its own processes see."""
    with daemon(url) as client:
        (pid,) = (each for each in _daemons(url))
        root = client.info()["DockerRootDir"]
    status = os.statvfs(f"/proc/{pid}/root{root}")
    return status.f_bavail * status.f_frsize


def _daemons(url: str) -> list[int]:
    """The process ids of the daemon at this address: its configuration names it."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # processes come and go
            words = each.read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == "dockerd" and "--config-file" in words and url in Path(words[2]).read_text():
                found.append(int(each.parent.name))
    return found


def test_a_daemon_that_is_killed_in_the_middle_of_a_build(failing: Failing, sandbox: Sandbox) -> None:
    """The run says that it went away; the step's container is removed as soon as it is back."""
    with killed_meanwhile(failing.url, sandbox):
        error = failing("import time; time.sleep(60)", seconds=100)

    assert error.transient
    assert "went away in the middle" in error.message
    assert "restarted?" in error.hint


def test_a_daemon_that_is_killed_in_the_middle_of_tests(
    run: Callable[..., TestRun], docker_daemon: Docker, sandbox: Sandbox
) -> None:
    """No verdict on the tests comes of it; their container carries the run's label, for the next run's sweep."""
    with killed_meanwhile(docker_daemon.docker_host, sandbox), pytest.raises(DockerError) as caught:
        run("import time; time.sleep(60)", seconds=100)

    note(caught.value)
    assert caught.value.transient
    assert caught.value.hint
    remove_left(docker_daemon.docker_host, run="test")


@contextmanager
def killed_meanwhile(url: str, sandbox: Sandbox) -> Iterator[None]:
    """By SIGKILL, some seconds from now; then it starts again."""

    def kill() -> None:
        time.sleep(4)
        (pid,) = _daemons(url)
        os.kill(pid, signal.SIGKILL)
        sandbox.restart("docker")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()


def test_all_that_a_build_prints_is_kept(failing: Failing, tmp_path: Path) -> None:
    """More than a page shows, and of what fails too."""
    place, said = LogPlace(tmp_path / "logs" / "build.log.gz", most_bytes=1 << 20, most_files=2), list[str]()
    failing("for n in range(5000): print('line', n)\nraise SystemExit(3)", seconds=100, said=said, log=place)

    kept = gzip.decompress(place.path.read_bytes()).decode().splitlines()
    assert [line for line in kept if line.startswith("line ")] == [f"line {n}" for n in range(5000)]
    assert "line 4999" not in said


TAKES = "taken = [b'x' * (1 << 20) for _ in range(512)]"
TELLS = """
import pathlib
root = pathlib.Path("/sys/fs/cgroup")
for name in ("memory.max", "cpu.max", "memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us"):
    if (root / name).exists():
        print("limit", (root / name).read_text().split()[0])
raise SystemExit(3)
"""


def test_a_step_that_takes_too_much_memory_is_killed(failing: Failing) -> None:
    """Before the host feels it, and whoever wrote it reads why."""
    error = failing(TAKES, seconds=100, limits=BuildLimits(memory_mib=96))

    assert "returned a non-zero code: 137" in error.message
    assert "raise `build_limits` in ci.yaml" in error.hint


def test_steps_get_what_the_host_gives_them(failing: Failing) -> None:
    """Memory and processor time, as the kernel says inside of the step."""
    said: list[str] = []
    failing(TELLS, seconds=100, said=said, limits=BuildLimits(memory_mib=96, processors=1.5))

    assert [line for line in said if line.startswith("limit ")] == [f"limit {96 << 20}", "limit 150000"]


@pytest.fixture
def run(docker_daemon: Docker, base_image: BaseImage, tmp_path: Path) -> Iterator[Callable[..., TestRun]]:
    """Runs a program as the tests of an image that has nothing else; no container and volume is left by it."""
    url, tag = docker_daemon.docker_host, f"interlock-test/{uuid.uuid4().hex}:1"
    (tmp_path / "Dockerfile").write_text(f"{BASE}USER 10001\n")
    component = Component(tests=Tests(command=("true",)))
    image = build_image.fn(url, tmp_path, component, tag=tag, labels={}, seconds=100, say=print)

    def make(program: str, *, seconds: int = SECONDS, log: LogPlace | None = None) -> TestRun:
        before = containers(url), volumes(url)
        tests = Tests(command=("python", "-c", program), timeout_seconds=seconds)
        result = run_tests.fn(url, image.id, tests, run="test", log=log)
        assert (containers(url), volumes(url)) == before
        return result

    yield make
    remove_image.fn(url, tag)


def volumes(url: str) -> set[str]:
    with daemon(url) as client:
        return {each["Name"] for each in client.api.volumes()["Volumes"] or ()}


@pytest.mark.parametrize("program", [FORKS, PRINTS, DEAF], ids=["forks", "prints", "deaf"])
def test_tests_that_do_not_end_are_stopped(run: Callable[..., TestRun], program: str) -> None:
    """After their own limit, whatever they ignore; what is kept of their log is bounded."""
    result = run(program)

    assert result.problems == (f"stopped after {SECONDS} s, as interlock.yaml asks",)
    assert len(result.log) <= 100
    assert result.seconds < 15 * SECONDS
