"""A real Prefect server for the session, and real workers with harmless flows for each half."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from interlock.contract.builtin import Half
from interlock.contract.declaration import Ground
from sandbox.http import LOCAL
from sandbox.parts.prefect import QUIET, empty_database, provide_empty_database
from sandbox.terminal import Terminal
from tasks.cd.host import load_cd
from tasks.ci.host import load_ci
from tasks.common.declare import declare, wanted
from tasks.common.prefect_api import Api, connected
from tests.prefect import hosts

T = TypeVar("T")
# Whatever ends the tests, what they started ends with them.
WITH_US = ("setpriv", "--pdeathsig", "TERM")


def until(what: str, ask: Callable[[], T | None], seconds: float = 90) -> T:
    """Ask until there is an answer; a failure names what did not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"after {seconds} s: no {what}")


@dataclass
class Server:
    """A Prefect server in a folder of its own. It can be stopped and started again at the same address."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    account: str = ""
    """`user:password` that it asks for; nothing when it is open to everybody."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What else its unit sets."""

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PREFECT_HOME": str(self.folder / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            **({"PREFECT_SERVER_API_AUTH_STRING": self.account} if self.account else {}),
            **QUIET,
            **self.variables,
        }
        lay_database(self.folder / "home")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*WITH_US, sys.executable, "-m", "sandbox.prefect_server", "--port", str(self.port)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until("Prefect server", self.answers, 90)

    def answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.api}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process:
            end(self.process)
            self.process = None


def lay_database(home: Path) -> None:
    """A database with Prefect's tables and nothing in it, where there is none: making one takes long."""
    if (home / "prefect.db").exists():
        return
    home.mkdir(exist_ok=True)
    provide_empty_database(Terminal())
    shutil.copyfile(empty_database(), home / "prefect.db")


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=25)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server while the block lasts."""
    server = Server(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


# For the folder and not the session: an idle server with its workers takes a third of a core.
@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with connected(server.api) as api:
        yield api


@dataclass
class Worker:
    """A half's worker, whose flows are harmless ones; its state folder shows what ran."""

    half: Half
    config: Path
    state: Path
    log: Path
    process: subprocess.Popen[bytes]

    def runs(self) -> list[dict[str, Any]]:
        import json

        file = self.state / "ran.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def start_worker(
    half: Half,
    folder: Path,
    server: Server,
    *,
    resync_seconds: int = 3600,
    cluster: str = "sandbox",
    before: str = "",
    account: str = "",
) -> Worker:
    """`before` is code for the worker's process: what only a test can switch."""
    state = folder / "state"
    state.mkdir(parents=True)
    value = hosts.ci(server.api, state) if half == "ci" else hosts.cd(server.api, state, resync_seconds, cluster)
    config = hosts.written(folder, f"{half}.yaml", value)
    log = folder / "worker.log"
    code = f"{before}\nfrom flows.serve import serve; serve({half!r}, module='tests.prefect.stubs')"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*WITH_US, sys.executable, "-I", "-c", code],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "PREFECT_HOME": str(folder / "home"),
                "INTERLOCK_CONFIG": str(config),
                "PYTHONPATH": str(folder),
                "SECRET_OF_THE_WORKER": "not for flows",
                **({"PREFECT_API_AUTH_STRING": account} if account else {}),
            },
            cwd=folder,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Worker(half, config, state, log, process)


@pytest.fixture(scope="package")
def workers(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Half], Worker]]:
    """A worker of either half, started when it is first asked for."""
    started: dict[Half, Worker] = {}

    def get(half: Half) -> Worker:
        if half not in started:
            started[half] = start_worker(half, tmp_path_factory.mktemp(half), server)
            with connected(server.api) as api:
                until("declaration", lambda: _declared(api, "release/ci" if half == "ci" else "poll-cd/sandbox"))
        return started[half]

    yield get
    for worker in started.values():
        end(worker.process)


@pytest.fixture
def worker(request: pytest.FixtureRequest, workers: Callable[[Half], Worker], api: Api) -> Iterator[Worker]:
    """CD's worker, or the one of the half that the test's parameter names, with everything as it is declared."""
    worker = workers(getattr(request, "param", "cd"))
    for file in worker.state.iterdir():
        file.unlink()
    before = worker.log.stat().st_size
    grounds = _grounds(worker)
    declare(api, wanted(worker.half, grounds))
    yield worker
    declare(api, wanted(worker.half, grounds))
    print(worker.log.read_bytes()[before:].decode()[-4000:])  # noqa: T201 - shown when the test failed


def _grounds(worker: Worker) -> tuple[Ground, ...]:
    return load_ci(worker.config).grounds if worker.half == "ci" else load_cd(worker.config).grounds


def _declared(api: Api, deployment: str) -> bool:
    flow, name = deployment.split("/")
    return any(one["name"] == name for one in api.post("/deployments/filter", {"flows": {"name": {"any_": [flow]}}}))


@pytest.fixture
def start(api: Api) -> Callable[..., str]:
    """Start a run as anybody with the API can, with whatever the body says."""

    def start(deployment: str, **body: Any) -> str:
        found = api.get(f"/deployments/name/{deployment}")
        return str(api.post(f"/deployments/{found['id']}/create_flow_run", body)["id"])

    return start


@pytest.fixture
def ended(api: Api) -> Callable[[str], dict[str, Any]]:
    """Wait for a run's final state."""

    def ended(run: str, seconds: float = 90) -> dict[str, Any]:
        def final() -> dict[str, Any] | None:
            state = api.get(f"/flow_runs/{run}")["state"]
            return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        return until(f"end of run {run}", final, seconds)

    return ended
