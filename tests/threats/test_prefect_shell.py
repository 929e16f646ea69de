"""Somebody with Prefect's API makes CD's worker a shell: a run that carries a command.

Number: 25
Defence: CD's worker is of a type of its own, which reads of a run a built-in flow's name and checked parameters, and
has no code that would start a command out of Prefect (flows/worker.py). Its children get a small environment.
Not defended: a stock Prefect worker that somebody starts on CD's host, as any program that is started there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.errors import PrefectError
from tasks.common.prefect_api import Api
from tests.prefect.conftest import WITH_US, Worker, end, start_worker, until
from tests.prefect.conftest import Server as PrefectServer

SECRET = "what-only-the-worker-has"
OPEN = {
    "job_configuration": {"command": "{{ command }}", "env": {}, "working_dir": "/"},
    "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
}
"""A pool's template that lets a run choose its command."""


@pytest.fixture
def stock(prefect_server: PrefectServer, prefect_api: Api, tmp_path: Path) -> Iterator[str]:
    """Prefect's own process worker, as its tutorial starts it; the name of its pool."""
    prefect_api.post("/work_pools/", {"name": "stock", "type": "process", "base_job_template": {}})
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": prefect_server.api,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "SECRET_OF_THE_WORKER": SECRET,
    }
    program = str(Path(sys.executable).parent / "prefect")
    command = [*WITH_US, program, "worker", "start", "--pool", "stock", "--type", "process"]
    with (tmp_path / "stock.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    yield "stock"
    end(process)
    print((tmp_path / "stock.log").read_text()[-3000:])  # noqa: T201 - shown when the test failed


def shell(api: Api, pool: str, flow: str, command: str) -> str:
    """A deployment in the pool and a run of it, that asks for a command."""
    found = api.post("/flows/", {"name": flow})
    body = {
        "flow_id": found["id"],
        "name": f"shell-{pool}",
        "work_pool_name": pool,
        "entrypoint": "x.py:x",
        "enforce_parameter_schema": False,
        "job_variables": {"command": command},
    }

    def started() -> str:
        """Nothing when the worker has put its pool back in between."""
        try:
            api.patch(f"/work_pools/{pool}", {"base_job_template": OPEN})
            deployment = api.post("/deployments/", body)
            more = {"parameters": {"environment": "dev"}, "job_variables": {"command": command}}
            return str(api.post(f"/deployments/{deployment['id']}/create_flow_run", more)["id"])
        except PrefectError:
            return ""

    return until("a run with a command", started)


def test_with_a_stock_worker_the_attack_succeeds(prefect_api: Api, stock: str, tmp_path: Path) -> None:
    """One POST, and whoever sent it has the worker's environment."""
    stolen = tmp_path / "stolen"
    shell(prefect_api, stock, "mine", f"sh -c 'env > {stolen}.part && mv {stolen}.part {stolen}'")

    until("the worker's environment", stolen.exists, 150)

    assert SECRET in stolen.read_text()


@pytest.fixture
def worker(prefect_server: PrefectServer, prefect_api: Api, tmp_path: Path) -> Iterator[Worker]:
    folder = tmp_path / "cd"
    folder.mkdir()
    found = start_worker("cd", folder, prefect_server, cluster="shells")
    until("declaration", lambda: "shells" in {d["name"] for d in prefect_api.post("/deployments/filter", {})}, 150)
    yield found
    end(found.process)


@pytest.mark.parametrize(("flow", "ends"), [("mine", "FAILED"), ("plan", "COMPLETED")])
def test_ours_runs_no_command(prefect_api: Api, worker: Worker, tmp_path: Path, *, flow: str, ends: str) -> None:
    """A flow of somebody's own is refused; a built-in one runs as always, without the command."""
    stolen = tmp_path / "stolen"
    run = shell(prefect_api, "interlock-cd-shells", flow, f"sh -c 'env > {stolen}'")

    def final() -> str:
        state = str(prefect_api.get(f"/flow_runs/{run}")["state"]["type"])
        return state if state in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else ""

    assert until("the end of the run", final, 150) == ends
    assert not stolen.exists()
    assert "SECRET_OF_THE_WORKER" not in {name for ran in worker.runs() for name in ran["environment"]}
