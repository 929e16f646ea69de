"""Somebody with Prefect's API in hand deploys what is not in Git, or keeps CD from what is.

Number: 25
Defence: the worker takes a built-in flow's name and checked parameters of a run, nothing else (flows/worker.py); what
to deploy is the branch's verified head. What somebody edits is put back every half minute, with a warning in the log
(tasks/common/declare.py); and when no run of Prefect's has looked at an environment in time, the worker's own clock
starts one that never asks Prefect (flows/clock.py). No credential is ever in Prefect.
Not defended: Prefect's pages. Whoever has its API can read plans, logs of runs, names of objects and images, forge
what the pages say, start deploys and plans of registered environments at any time, and cancel what runs; a cancelled
sync is finished by the next. Give each half a server of its own, behind a proxy (docs/production.md).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from interlock.contract.declaration import TAG
from interlock.errors import PrefectError
from tasks.common.prefect_api import Api, connected
from tests.prefect.conftest import Server as Prefect
from tests.prefect.conftest import Worker, end, start_worker, until

EVERY = 10
NO_CLOCK = "import flows.clock; flows.clock.late = lambda **_: False"
QUICK_CLOCK = "import flows.clock; flows.clock.SLACK_SECONDS = 2.0"


@contextmanager
def cd(server: Prefect, folder: Path, cluster: str, before: str) -> Iterator[Worker]:
    folder.mkdir()
    worker = start_worker("cd", folder, server, resync_seconds=EVERY, cluster=cluster, before=before)
    try:
        yield worker
    finally:
        end(worker.process)


def flows_of(worker: Worker) -> list[str]:
    return [run["flow"] for run in worker.runs()]


@contextmanager
def sabotage(server: Prefect, cluster: str) -> Iterator[None]:
    """Again and again: schedules removed, deployments, pool and queue paused, whatever is due cancelled."""
    ended = threading.Event()

    def work() -> None:
        with connected(server.api) as api:
            while not ended.wait(0.3):
                with suppress(PrefectError):
                    _sabotage(api, cluster)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sabotage(api: Api, cluster: str) -> None:
    pool = f"interlock-cd-{cluster}"
    found = {"work_pools": {"name": {"any_": [pool]}}}
    api.patch(f"/work_pools/{pool}", {"is_paused": True})
    api.patch(f"/work_pools/{pool}/queues/default", {"is_paused": True})
    for deployment in api.post("/deployments/filter", found):
        api.patch(f"/deployments/{deployment['id']}", {"paused": True, "schedules": []})
    due = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}}
    for run in api.post("/flow_runs/filter", {**found, **due}):
        api.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})


def test_without_its_own_clock_the_attack_succeeds(prefect_server: Prefect, tmp_path: Path) -> None:
    """Nobody syncs as long as somebody pauses and cancels; CD is alive, and idle."""
    with cd(prefect_server, tmp_path / "cd", "idle", NO_CLOCK) as worker, connected(prefect_server.api) as api:
        with sabotage(prefect_server, "idle"):
            until("declaration", lambda: _has(api, "idle"))
            before = len(flows_of(worker))
            threading.Event().wait(3 * EVERY)
            assert len(flows_of(worker)) <= before + 1
        assert "own-clock" not in flows_of(worker)


def test_the_worker_syncs_all_the_same_and_says_so(prefect_server: Prefect, tmp_path: Path) -> None:
    """By its own clock, which does not ask Prefect; and the log tells what somebody had changed."""
    with cd(prefect_server, tmp_path / "cd", "kept", QUICK_CLOCK) as worker, sabotage(prefect_server, "kept"):
        until("a sync by its own clock", lambda: "own-clock" in flows_of(worker), 150)
        until("a warning", lambda: "put back: somebody had changed it" in worker.log.read_text(), 90)
        assert "no run of Prefect's looked at it in time" in worker.log.read_text()
        [ran] = [run for run in worker.runs() if run["flow"] == "own-clock"][:1]
        assert ran["values"] == {"environment": "dev"}


def test_it_syncs_while_prefect_is_gone(tmp_path: Path) -> None:
    """An address where nobody answers is no reason to leave an environment alone."""
    nowhere = Prefect(tmp_path, 9)
    with cd(nowhere, tmp_path / "cd", "alone", QUICK_CLOCK) as worker:
        until("a sync by its own clock", lambda: "own-clock" in flows_of(worker), 150)


@pytest.fixture(scope="module")
def worker(prefect_server: Prefect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with cd(prefect_server, tmp_path_factory.mktemp("open") / "cd", "open", NO_CLOCK) as found:
        with connected(prefect_server.api) as api:
            until("declaration", lambda: _has(api, "open"))
        yield found


def test_only_registered_names_are_taken(prefect_server: Prefect, worker: Worker) -> None:
    """Another environment, repository or key in a run's parameters ends as refused, before any flow runs."""
    with connected(prefect_server.api) as api:
        found = api.get("/deployments/name/deploy/open")
        for more in ({"environment": "other"}, {"environment": "dev", "repository": "https://evil.example/x.git"}):
            api.patch(f"/deployments/{found['id']}", {"enforce_parameter_schema": False})
            run = api.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": more})["id"]
            state = until("end", lambda run=run: _final(api, run))  # type: ignore[misc]
            assert (state["name"], "deploy" in flows_of(worker)) == ("Refused", False)


def test_nothing_secret_is_readable(prefect_server: Prefect, worker: Worker) -> None:
    """All that Prefect has of us, blocks and variables included, names no file with a key and no credential."""
    with connected(prefect_server.api) as api:
        everything: list[Any] = [
            api.post("/block_documents/filter", {"include_secrets": True}),
            api.post("/variables/filter", {}),
            api.post("/artifacts/filter", {}),
            api.post("/logs/filter", {}),
            [one for one in api.post("/deployments/filter", {}) if TAG in one["tags"]],
            api.post("/work_pools/filter", {}),
        ]
    text = json.dumps(everything)
    value = json.loads(worker.config.read_text())
    for secret in (value["signing"]["key"], value["clusters"]["open"]["kubeconfig"], "SECRET_OF_THE_WORKER"):
        assert secret not in text


def _has(api: Api, cluster: str) -> bool:
    return any(one["name"] == cluster for one in api.post("/deployments/filter", {}))


def _final(api: Api, run: str) -> dict[str, Any] | None:
    state: dict[str, Any] = api.get(f"/flow_runs/{run}")["state"]
    return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None
