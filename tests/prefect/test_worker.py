"""The worker runs built-in flows with checked parameters, whatever a run carries in Prefect."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest

from interlock.cli.main import main
from interlock.errors import PrefectError
from tasks.common.prefect_api import Api
from tests.prefect.conftest import Server, Worker, end, start_worker, until

Start = Callable[..., str]
Ended = Callable[..., dict[str, Any]]
DEV = {"environment": "dev"}


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.mark}",))


def edit(api: Api, deployment: str, change: dict[str, Any]) -> None:
    """Edit a deployment as anybody with the API can."""
    api.patch(f"/deployments/{api.get(f'/deployments/name/{deployment}')['id']}", change)


def test_runs_a_built_in_flow(worker: Worker, start: Start, ended: Ended) -> None:
    """A run of a built-in flow with registered parameters runs, in clean surroundings, and its state says how."""
    state = ended(start("plan/sandbox", parameters=DEV))

    assert (state["name"], state["message"]) == ("Completed", "plan ran")
    [ran] = worker.runs()
    assert ran["values"] == {"environment": "dev", "revision": None}
    assert ran["cwd"] == "/"
    assert not {"SECRET_OF_THE_WORKER", "PYTHONPATH"} & ran["environment"].keys()
    assert str(worker.state.parent) not in ran["path"]


@pytest.mark.parametrize(
    ("deployment", "parameters", "said"),
    [
        pytest.param("plan/sandbox", {"environment": "production"}, "'production' is not registered", id="foreign"),
        pytest.param("plan/sandbox", {**DEV, "cluster": "mine"}, "unknown parameter 'cluster'", id="unknown-key"),
        pytest.param("deploy/sandbox", {**DEV, "revision": "main; id"}, "parameter 'revision'", id="not-a-commit"),
        pytest.param("deploy/sandbox", {"environment": ["dev"]}, "parameter 'environment'", id="wrong-type"),
        pytest.param("deploy/sandbox", {}, "parameter 'environment'", id="missing"),
    ],
)
def test_refuses_parameters(
    worker: Worker,
    api: Api,
    start: Start,
    ended: Ended,
    *,
    deployment: str,
    parameters: dict[str, Any],
    said: str,
) -> None:
    """Parameters that the host's file does not know are refused, also when Prefect's own check was switched off."""
    edit(api, deployment, {"enforce_parameter_schema": False})

    state = ended(start(deployment, parameters=parameters))

    assert (state["type"], state["name"]) == ("FAILED", "Refused")
    assert said in state["message"]
    assert worker.runs() == []


def test_refuses_a_flow_that_is_not_built_in(worker: Worker, api: Api, ended: Ended) -> None:
    """A deployment of somebody's own flow in our pool is refused, and says which flows there are."""
    flow = api.post("/flows/", {"name": "mine"})
    body = {"flow_id": flow["id"], "name": "mine", "work_pool_name": "interlock-cd-sandbox", "entrypoint": "os.system"}
    deployment = api.post("/deployments/", body)

    run = api.post(f"/deployments/{deployment['id']}/create_flow_run", {})["id"]

    state = ended(run)
    assert state["name"] == "Refused"
    assert "flow 'mine' is not one of this worker's: deploy, resync, plan, poll-cd" in state["message"]
    api.delete(f"/deployments/{deployment['id']}")


def test_refuses_the_other_halfs_flow(worker: Worker, api: Api, ended: Ended) -> None:
    """CD's worker does not run CI's flow, although it has one of that name installed."""
    flow = api.post("/flows/", {"name": "release"})
    body = {"flow_id": flow["id"], "name": "here", "work_pool_name": "interlock-cd-sandbox"}
    deployment = api.post("/deployments/", body)

    run = api.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"repository": "shop"}})["id"]

    assert ended(run)["name"] == "Refused"
    assert worker.runs() == []
    api.delete(f"/deployments/{deployment['id']}")


def test_ignores_what_a_run_wants_of_its_infrastructure(
    worker: Worker, *, api: Api, start: Start, ended: Ended, tmp_path: Path
) -> None:
    """A command, an environment, a job template, pull steps, an entrypoint and a path change nothing at all."""
    mark = tmp_path / "owned"
    command = f"sh -c 'touch {mark}'"
    open_template = {
        "job_configuration": {"command": command, "env": {"EVIL": "1"}, "working_dir": str(tmp_path)},
        "variables": {"type": "object", "properties": {}},
    }
    evil = tmp_path / "evil.py"
    evil.write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    flow = api.get("/deployments/name/plan/sandbox")["flow_id"]
    step = {"prefect.deployments.steps.run_shell_script": {"script": command}}
    variables = {"command": command, "env": {"EVIL": "1", "PYTHONPATH": str(tmp_path)}, "working_dir": str(tmp_path)}
    changed = {
        "flow_id": flow,
        "name": "sandbox",
        "work_pool_name": "interlock-cd-sandbox",
        "entrypoint": f"{evil}:plan",
        "path": str(tmp_path),
        "pull_steps": [step],
        "job_variables": variables,
    }

    def started() -> str | None:
        """None when the worker has put its pool back in between."""
        try:
            api.patch("/work_pools/interlock-cd-sandbox", {"base_job_template": open_template})
            api.post("/deployments/", changed)
            return start("plan/sandbox", parameters=DEV, job_variables=variables)
        except PrefectError:
            return None

    state = ended(until("run of the changed deployment", started, 20))

    assert state["message"] == "plan ran"
    [ran] = worker.runs()
    assert not {"EVIL", "PYTHONPATH"} & ran["environment"].keys()
    assert ran["cwd"] == "/"
    assert str(tmp_path) not in ran["path"]
    assert not mark.exists()


def test_resolves_no_block_that_a_template_names(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """A template that names a secret block, or breaks the worker's own reading of templates, has no effect."""
    taken = {"type": "string", "default": "{{ prefect.blocks.secret.nothing }}"}
    broken = {
        "job_configuration": {"env": {"TAKEN": "{{ taken }}"}, "command": 7},
        "variables": {"type": "object", "properties": {"taken": taken}},
    }
    api.patch("/work_pools/interlock-cd-sandbox", {"base_job_template": broken})

    assert ended(start("plan/sandbox", parameters=DEV))["message"] == "plan ran"


def test_unpickles_nothing(worker: Worker, api: Api, start: Start, ended: Ended, tmp_path: Path) -> None:
    """A pickled result that somebody attached to a run in Prefect is not loaded."""
    mark = tmp_path / "unpickled"
    stored = tmp_path / "stored"
    result = {
        "metadata": {
            "storage_key": str(stored),
            "serializer": {"type": "pickle"},
            "expiration": None,
            "prefect_version": "3.8.8",
            "storage_block_id": None,
        },
        "result": cloudpickle.dumps(Bomb(mark)).hex(),
    }
    stored.write_text(json.dumps(result))
    (worker.state / "wait").touch()
    run = start("plan/sandbox", parameters=DEV)
    until("flow that waits", (worker.state / "waiting").exists)
    data = {"type": "reference", **result["metadata"]}

    for kind in ("COMPLETED", "RUNNING"):
        api.post(f"/flow_runs/{run}/set_state", {"state": {"type": kind, "data": data}, "force": True})
    again = start("plan/sandbox", parameters=DEV)
    api.post(f"/flow_runs/{again}/set_state", {"state": {"type": "PENDING", "data": data}, "force": True})
    (worker.state / "wait").unlink()
    ended(start("plan/sandbox", parameters=DEV))

    assert not mark.exists()


def test_a_blocked_order_says_why(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """An expected failure ends in a state of its own name, with its reasons, and without a traceback in the log."""
    (worker.state / "block").touch()

    run = start("plan/sandbox", parameters=DEV)

    state = ended(run)
    assert (state["type"], state["name"]) == ("FAILED", "Blocked")
    assert state["message"] == "blocked: 2 findings\n  - one\n  - two"

    def log() -> str:
        lines = api.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200})
        text = "\n".join(line["message"] for line in lines)
        return text if "hint: mend them" in text else ""

    assert "Traceback" not in until("log", log)


def test_cancels(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """Cancelling a run lets the step under way finish, then the order clean up, and ends the run as cancelled."""
    (worker.state / "wait").touch()
    run = start("deploy/sandbox", parameters=DEV)
    until("flow that waits", (worker.state / "waiting").exists)

    api.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    assert ended(run)["name"] == "Cancelled"
    assert (worker.state / "cleaned").read_text() == "after the step"
    pid = int(api.get(f"/flow_runs/{run}")["infrastructure_pid"])
    assert not Path(f"/proc/{pid}").exists()


def test_tells_of_a_process_that_died(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """A run whose process was killed ends as crashed, and its message says so."""
    (worker.state / "wait").touch()
    run = start("deploy/sandbox", parameters=DEV)
    until("flow that waits", (worker.state / "waiting").exists)
    pid = until("process id", lambda: api.get(f"/flow_runs/{run}")["infrastructure_pid"])

    os.kill(int(pid), signal.SIGKILL)

    state = ended(run)
    assert state["type"] == "CRASHED"
    assert "was killed by SIGKILL" in state["message"]


def test_outlives_the_process_that_its_runs_come_from(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """When the process that forks is killed, its runs end as crashed and the next run has a new one."""
    (worker.state / "wait").touch()
    run = start("deploy/sandbox", parameters=DEV)
    until("flow that waits", (worker.state / "waiting").exists)
    [parent] = [pid for pid in _children(worker.process.pid) if "tests.prefect.stubs" in _command(pid)]

    os.kill(parent, signal.SIGKILL)

    assert ended(run)["type"] == "CRASHED"
    (worker.state / "wait").unlink()
    assert ended(start("plan/sandbox", parameters=DEV))["message"] == "plan ran"
    assert [pid for pid in _children(worker.process.pid) if "tests.prefect.stubs" in _command(pid)] != [parent]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_serves_a_cluster_that_is_registered_while_it_runs(worker: Worker, api: Api, ended: Ended) -> None:
    """A cluster and an environment that are added to the host's file are declared and served without a restart."""
    before = worker.config.read_text()
    try:
        for words in (
            ("cluster", "after", "--kubeconfig", "/nowhere"),
            ("environment", "later", "--cluster", "after", "--namespace", "later"),
        ):
            assert main(["register", *words, "--config", str(worker.config)]) == 0
        until("declaration", lambda: _deployment(api, "plan", "after"))
        # The worker may have looked between the two commands: then it declares the environment with its next look.
        until("environment", lambda: "later" in json.dumps(api.get("/deployments/name/plan/after")))
        deployment = api.get("/deployments/name/plan/after")["id"]
        run = api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": {"environment": "later"}})["id"]
        assert ended(run)["message"] == "plan ran"
    finally:
        worker.config.write_text(before)


def test_stopping_the_worker_ends_its_runs(server: Server, api: Api, ended: Ended, tmp_path: Path) -> None:
    """SIGTERM to the worker lets running flows clean up, and leaves no process behind."""
    worker = start_worker("cd", tmp_path, server, cluster="stopped")
    try:
        (worker.state / "wait").touch()
        until("declaration", lambda: _deployment(api, "deploy", "stopped"))
        deployment = api.get("/deployments/name/deploy/stopped")["id"]
        run = api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": DEV})["id"]
        until("flow that waits", (worker.state / "waiting").exists)

        # To all of its processes at once, as a service manager does.
        for pid in (*_children(worker.process.pid), worker.process.pid):
            os.kill(pid, signal.SIGTERM)
        worker.process.wait(timeout=40)

        assert (worker.state / "cleaned").exists()
        assert "was stopped together with its worker" in ended(run)["message"]
        assert _processes(str(worker.config)) == []
    finally:
        end(worker.process)


def _deployment(api: Api, flow: str, name: str) -> bool:
    found = api.post("/deployments/filter", {"flows": {"name": {"any_": [flow]}}})
    return name in {one["name"] for one in found}


def _processes(mention: str) -> list[str]:
    """Processes whose environment mentions something."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and mention.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("worker", ["ci"], indirect=True)
def test_ci_takes_registered_repositories_only(worker: Worker, api: Api, start: Start, ended: Ended) -> None:
    """CI's worker releases a repository of ci.yaml, and refuses any other."""
    edit(api, "release/ci", {"enforce_parameter_schema": False})

    assert ended(start("release/ci", parameters={"repository": "shop"}))["message"] == "release ran"
    refused = ended(start("release/ci", parameters={"repository": "other"}))
    assert (refused["name"], len(worker.runs())) == ("Refused", 1)


def test_the_child_ignores_its_callers_python_settings(worker: Worker, start: Start, ended: Ended) -> None:
    """The child's module path is the installation's, whatever PYTHONPATH or folder the worker was started with."""
    (worker.state.parent / "flows.py").write_text("raise SystemExit('shadowed')\n")

    assert ended(start("plan/sandbox", parameters=DEV))["message"] == "plan ran"
    assert Path(worker.runs()[0]["path"][-1]).is_relative_to(Path(sys.prefix).parent)
