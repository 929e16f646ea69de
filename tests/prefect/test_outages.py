"""CD's real flows on real workers, Prefect servers and a real cluster: what happens when Prefect is away, or is two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.parts.kubernetes import Kubernetes
from sandbox.supervisor import Sandbox
from tasks.common.prefect_api import Api, connected
from tests.cluster.test_order import balanced, give_address
from tests.cluster.worlds import World, config_map, make_world
from tests.git.conftest import Server as GitServer
from tests.git.conftest import server as git_host  # noqa: F401 - a fixture of that room, used here too
from tests.prefect.conftest import WITH_US, Server, end, free_port, until

DEPLOY = "deploy/sandbox"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Host:
    """A Prefect server with one worker of CD, whose host file is a copy of the world's; the state folder is shared."""

    world: World
    folder: Path
    server: Server = field(init=False)
    worker: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.server = Server(self.folder, free_port())

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def start(self) -> None:
        self.server.start()
        config = yaml.safe_load(self.world.config.read_text())
        environments = {name: {**one, "resync_seconds": 86400} for name, one in config["environments"].items()}
        config |= {"prefect": self.server.api, "poll_seconds": 86400, "environments": environments}
        file = self.folder / "cd.yaml"
        file.write_text(json.dumps(config))
        file.chmod(0o644)
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                [*WITH_US, sys.executable, "-I", "-c", _SERVE],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),
                    "PREFECT_HOME": str(self.folder / "worker-home"),
                    "INTERLOCK_CONFIG": str(file),
                },
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with connected(self.server.api) as api:
            until(f"declaration\n{self.log.read_text()[-2000:]}", lambda: _is_declared(api), 180)

    def stop(self) -> None:
        if self.worker:
            end(self.worker)
        self.server.stop()

    def deploy(self) -> str:
        """Order a deploy; the run's id."""
        with connected(self.server.api) as api:
            deployment = api.get(f"/deployments/name/{DEPLOY}")["id"]
            body = {"parameters": {"environment": "dev"}}
            return str(api.post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def ended(self, run: str, seconds: float = 240) -> dict[str, Any]:
        with connected(self.server.api) as api:

            def final() -> dict[str, Any] | None:
                state: dict[str, Any] = api.get(f"/flow_runs/{run}")["state"]
                return state if state["type"] in FINAL else None

            return until(f"end of run {run}", final, seconds)

    def process(self, run: str) -> int:
        with connected(self.server.api) as api:
            return int(until("process id", lambda: api.get(f"/flow_runs/{run}")["infrastructure_pid"]))

    def artifacts(self, run: str) -> set[str]:
        with connected(self.server.api) as api:
            found = api.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
            return {str(each["key"]) for each in found}


_SERVE = "from flows.serve import serve; serve('cd', module='tests.prefect.stopping')"


def _is_declared(api: Api) -> bool:
    found = api.post("/deployments/filter", {"flows": {"name": {"any_": ["deploy"]}}})
    return any(one["name"] == "sandbox" for one in found)


@pytest.fixture
def world(cluster: Kubernetes, sandbox: Sandbox, git_host: GitServer, tmp_path: Path) -> World:  # noqa: F811
    """An environment that waits long for health: its flows run on a busy machine."""
    return make_world(sandbox.place, git_host, tmp_path, health_seconds=180)


@pytest.fixture
def hosts(world: World, tmp_path: Path) -> Iterator[list[Host]]:
    """Hosts that a test adds are stopped after it, and the end of what their workers said is shown when it failed."""
    started: list[Host] = []
    yield started
    for host in started:
        host.stop()
        print(host.log.read_text()[-4000:] if host.log.exists() else "no worker")  # noqa: T201


def _host(hosts: list[Host], world: World, folder: Path) -> Host:
    folder.mkdir()
    hosts.append(Host(world, folder))
    hosts[-1].start()
    return hosts[-1]


def _deployed(world: World) -> bool:
    record = world.stored().record
    return record is not None and (record.deployed, record.pending) == (world.head, None)


@pytest.mark.timeout(900)
def test_prefect_stops_in_the_middle_of_a_deploy(world: World, hosts: list[Host], tmp_path: Path) -> None:
    """The deploy goes on to its recorded end without anybody to tell; Prefect hears of it when it is back."""
    host = _host(hosts, world, tmp_path / "one")
    world.push_objects("web", balanced("web"), config_map("c", {"a": "1"}))
    run = host.deploy()
    until("objects", lambda: world.get("Service", "web"), 180)
    until("progress", lambda: "health" in host.artifacts(run), 120)

    host.server.stop()
    give_address(world, "web")
    until("record", lambda: _deployed(world), 240)
    until("receipt", lambda: world.receipts()[-1] == ("result", "healthy"), 120)
    host.server.start()

    state = host.ended(run)
    assert state["type"] in {"COMPLETED", "CRASHED"}, state
    again = host.ended(host.deploy())
    assert (again["type"], "in sync" in again["message"]) == ("COMPLETED", True), again
    assert world.receipts()[-1] == ("result", "healthy")


@pytest.mark.timeout(900)
def test_a_run_that_another_worker_overtook_writes_nothing_more(
    world: World, hosts: list[Host], tmp_path: Path
) -> None:
    """Two Prefect servers with a worker each: one's run is stopped before a write, overtaken by the other's, and
    continued. It ends as LockHeld, the newer commit stays, and the next run of either finds everything done.
    """
    one, two = (_host(hosts, world, tmp_path / name) for name in ("one", "two"))
    state = world.host.state
    state.mkdir(exist_ok=True)
    (state / "stop").touch()
    world.push_objects("c", config_map("c", {"a": "old"}))
    slow = one.deploy()
    until("stopped run", (state / "stopped").exists, 180)
    stopped = one.process(slow)
    until("stop", lambda: _is_stopped(stopped), 30)

    world.push_objects("c", config_map("c", {"a": "new"}))
    overtaking = two.ended(two.deploy())
    assert overtaking["type"] == "COMPLETED", overtaking
    assert _deployed(world)
    before, receipts = world.get("ConfigMap", "c"), world.receipts()
    assert before is not None
    assert before["data"] == {"a": "new"}
    os.kill(stopped, signal.SIGCONT)

    assert one.ended(slow)["name"] == "LockHeld"
    assert world.get("ConfigMap", "c") == before
    assert (world.receipts(), world.mark()["deployed"]) == (receipts, world.head)
    for host in (one, two):
        again = host.ended(host.deploy())
        assert "in sync" in again["message"], again
    assert world.receipts() == receipts


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
