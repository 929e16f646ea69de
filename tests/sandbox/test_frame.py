"""The sandbox as a whole: it lives exactly as long as its owner, leaves nothing, and two do not meet."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import slots
from sandbox.part import SandboxError
from sandbox.parts.git import create_repository
from sandbox.place import STATE_ROOT
from sandbox.supervisor import Sandbox
from sandbox.terminal import Terminal
from sandbox.users import CHECKOUT, user

# The run's sandbox itself is not used; asking for it says what is missing on machines without root.
pytestmark = pytest.mark.usefixtures("sandbox")
SECONDS = 30


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


@contextmanager
def owner(name: str, *, parts: str = "git,registry") -> Iterator[subprocess.Popen[str]]:
    """`python -m sandbox up` as a process of its own, once its parts answer."""
    command = [sys.executable, "-m", "sandbox", "up", "--name", name, "--only", parts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        try:
            said: list[str] = []
            while f"sandbox {name} is up; Ctrl-C ends it\n" not in said:
                line = process.stdout.readline()
                assert line, "".join(said)
                said.append(line)
            yield process
        finally:
            process.kill()
            subprocess.run([sys.executable, "-m", "sandbox", "down", "--name", name], check=True)


def processes_of(name: str) -> list[int]:
    """Every process in the PID namespace of the sandbox's supervisor."""
    inside = [pid for pid in pids() if f"sandbox.inside\0{name}\0" in read(f"/proc/{pid}/cmdline")]
    spaces = {link(f"/proc/{pid}/ns/pid") for pid in inside} - {link("/proc/self/ns/pid"), None}
    return [pid for pid in pids() if link(f"/proc/{pid}/ns/pid") in spaces]


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def link(path: str) -> str | None:
    try:
        return str(Path(path).readlink())
    except OSError:
        return None


@pytest.fixture
def name() -> str:
    return f"frame-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"


def test_nothing_outlives_an_owner_that_is_killed(name: str) -> None:
    """SIGKILL of the owner ends every process of the sandbox at once, and the next sandbox sweeps what it left."""
    with owner(name) as process:
        before = processes_of(name)
        assert len(before) >= 4, "init, supervisor, git server, registry"
        process.kill()
        until(lambda: not [pid for pid in before if Path(f"/proc/{pid}").exists()], "all processes gone")
        assert (STATE_ROOT / name).exists(), "a killed owner cannot sweep"
        until(lambda: name in [place.name for place in slots.sweep_dead()], "swept")
    assert not (STATE_ROOT / name).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_asked_owner_stops_everything_and_sweeps(name: str, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end the sandbox in order, keep the logs and leave nothing else."""
    with owner(name) as process:
        before = processes_of(name)
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
        assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    assert not (STATE_ROOT / name).exists()
    assert (STATE_ROOT / f"{name}.logs" / "git.log").exists()


def test_down_from_elsewhere_ends_the_owner(name: str) -> None:
    """`down` in another terminal ends the sandbox, and `up` there ends by itself."""
    with owner(name) as process:
        subprocess.run([sys.executable, "-m", "sandbox", "down", "--name", name], check=True)
        assert process.wait(SECONDS) == 0
    assert not (STATE_ROOT / name).exists()


def test_status_tells_which_part_answers(name: str) -> None:
    """`status` asks each part now: a running one answers, a killed one does not."""
    with owner(name, parts="git,trivy"):
        Sandbox.attach(name, report=Terminal()).kill("git")
        command = [sys.executable, "-m", "sandbox", "status", "--output", "json"]
        answers = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[name]
    assert {answer["part"]: answer["answers"] for answer in answers} == {"git": False, "trivy": True}


def test_status_wraps_and_cuts_no_path(name: str) -> None:
    """On a narrow terminal too, address and log stand whole, each to be copied by itself."""
    with owner(name, parts="git,trivy"):
        sandbox = Sandbox.attach(name, report=Terminal())
        sandbox.kill("git")
        command = [sys.executable, "-m", "sandbox", "status"]
        narrow = {**os.environ, "COLUMNS": "40"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=narrow)
        lines = done.stdout.splitlines()
        words = done.stdout.split()
    assert "no answer" in lines[lines.index(f"sandbox {name}") + 1]
    assert {str(sandbox.log(part)) for part in ("git", "trivy")} <= set(words)


def test_two_sandboxes_run_side_by_side(name: str) -> None:
    """A second sandbox has other ports, users and repositories, and both answer."""
    with (
        Sandbox.open(name=f"{name}-a", parts=["git"], report=Terminal()) as first,
        Sandbox.open(name=f"{name}-b", parts=["git"], report=Terminal()) as second,
    ):
        create_repository(first.place, "shop", kind="application")
        create_repository(second.place, "shop", kind="application")
        assert first.place.git_port != second.place.git_port
        assert user(first.place, "git").id != user(second.place, "git").id
        assert [answer.answers for each in (first, second) for answer in each.status()] == [True, True]


def test_a_name_runs_once(name: str) -> None:
    """A second sandbox of the same name is refused, and says how to end the first."""
    with (
        Sandbox.open(name=name, parts=(), report=Terminal()),
        pytest.raises(SandboxError, match=f"runs already.*down --name {name}"),
        Sandbox.open(name=name, parts=(), report=Terminal()),
    ):
        pass


def test_a_part_that_fails_fails_the_opening_and_leaves_nothing(name: str) -> None:
    """When a part cannot start, the error shows its log's end and where the whole log is kept."""
    expected = rf"(?s)registry: ended.*{name}.logs/registry.log.*address already in use"
    with (
        pytest.raises(SandboxError, match=expected),
        Sandbox.open(name=name, parts=(), report=Terminal()) as sandbox,
        socket.create_server(("", sandbox.place.registry_port)),
    ):
        sandbox.start("registry")
    assert not (STATE_ROOT / name).exists()


def test_unknown_parts_are_refused_before_anything_starts(name: str) -> None:
    """A misspelt part is named together with those that exist."""
    with (
        pytest.raises(SandboxError, match="part gti: unknown; there are docker, registry, git"),
        Sandbox.open(name=name, parts=["gti"], report=Terminal()),
    ):
        pass


def test_the_machine_s_users_stay_as_they_are(name: str) -> None:
    """Inside the sandbox its users have names; the machine's own user database never changes."""
    before = Path("/etc/passwd").read_bytes()
    with Sandbox.open(name=name, parts=["git"], report=Terminal()) as sandbox:
        copy = (sandbox.place.state / "etc" / "passwd").read_text()
        assert f"interlock-ci:x:{user(sandbox.place, 'ci').id}:" in copy
        [server] = [pid for pid in processes_of(name) if "sandbox.git_server" in read(f"/proc/{pid}/cmdline")]
        assert read(f"/proc/{server}/root/etc/passwd") == copy
        assert Path("/etc/passwd").read_bytes() == before
        with pytest.raises(KeyError):
            pwd.getpwnam("interlock-ci")


def test_a_killed_part_is_revived_alone(name: str) -> None:
    """Killing a part leaves the others running; revived, it has what it had."""
    with Sandbox.open(name=name, parts=["git", "trivy"], report=Terminal()) as sandbox:
        url = create_repository(sandbox.place, "shop", kind="application")
        sandbox.kill("git")
        assert [(a.part, a.answers) for a in sandbox.status()] == [("git", False), ("trivy", True)]
        sandbox.revive("git")
        assert all(answer.answers for answer in sandbox.status())
        assert (sandbox.place.state / "git" / "repositories" / "shop.git").exists(), url


def test_a_stranger_gets_no_control(name: str) -> None:
    """Only root may send requests to a sandbox's supervisor."""
    with Sandbox.open(name=name, parts=(), report=Terminal()) as sandbox:
        attempt = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        command = ["/usr/bin/env", "python3", "-c", attempt, str(sandbox.place.state / "control.sock")]
        done = subprocess.run(
            command, user=65534, capture_output=True, text=True, check=False, cwd="/", env={"PATH": "/usr/bin:/bin"}
        )
    assert "PermissionError" in done.stderr


def test_help_teaches_by_example() -> None:
    """Without arguments the command explains itself with examples."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--help"], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert all(f"python -m sandbox {verb}" in done.stdout for verb in ("up", "status", "down"))
