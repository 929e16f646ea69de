"""Harmless flows in the place of the built-in ones: each writes down what it was given, and does what it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State

from flows import run
from flows.ending import ending
from flows.presenter import PrefectPresenter
from interlock.contract.builtin import BuiltIn
from interlock.contract.report import Report, Table
from interlock.errors import Blocked
from tasks.cd import looked
from tasks.common.effect import effect


def _state() -> Path:
    half = sys.argv[1]
    host = getattr(import_module(f"tasks.{half}.host"), f"load_{half}")()
    return Path(host.state)


@effect(name="write down", task_run_name="write down {flow}")
def write_down(flow: str, values: dict[str, Any]) -> str:
    """Append what a run was given, and in what surroundings, to ran.jsonl in the host's state folder."""
    line = {"flow": flow, "values": values, "environment": dict(os.environ), "cwd": str(Path.cwd()), "path": sys.path}
    with (_state() / "ran.jsonl").open("a") as file:
        file.write(json.dumps({**line, "at": time.time()}) + "\n")
    return f"{flow} ran"


@effect(name="take time")
def take_time() -> None:
    """Be under way for three seconds."""
    time.sleep(3)
    (_state() / "step").touch()


async def _order(flow: str, **values: Any) -> str:
    presenter = PrefectPresenter()
    said = await presenter.step(write_down, flow, values)
    await presenter.show(Report("sample", said, tables=(Table.of("key", "value", rows=[("flow", flow)]),)))
    await presenter.tag("sample")
    if flow == "resync":
        looked.note(_state(), values["environment"])
    if (_state() / "wait").exists():
        (_state() / "waiting").touch()
        try:
            await presenter.step(take_time)
            await asyncio.sleep(60)
        finally:
            (_state() / "cleaned").write_text("after the step" if (_state() / "step").exists() else "before the step")
    if (_state() / "block").exists():
        raise Blocked("blocked: 2 findings", reasons=("one", "two"), hint="mend them")
    return said


@flow(name="release", flow_run_name="release {repository}", persist_result=False)
async def release(repository: str, commit: str | None = None) -> State[Any]:
    """Stands for CI's release."""
    return await ending(_order("release", repository=repository, commit=commit), str)


@flow(name="poll-ci", persist_result=False)
async def poll_ci() -> State[Any]:
    """Stands for CI's poll."""
    return await ending(_order("poll-ci"), str)


@flow(name="rescan", persist_result=False)
async def rescan() -> State[Any]:
    """Stands for CI's rescan."""
    return await ending(_order("rescan"), str)


@flow(name="deploy", flow_run_name="deploy {environment}", persist_result=False)
async def deploy(environment: str, revision: str | None = None) -> State[Any]:
    """Stands for CD's deploy."""
    return await ending(_order("deploy", environment=environment, revision=revision), str)


@flow(name="resync", flow_run_name="resync {environment}", persist_result=False)
async def resync(environment: str) -> State[Any]:
    """Stands for CD's resync."""
    return await ending(_order("resync", environment=environment), str)


@flow(name="plan", persist_result=False)
async def plan(environment: str, revision: str | None = None) -> State[Any]:
    """Stands for CD's plan."""
    return await ending(_order("plan", environment=environment, revision=revision), str)


@flow(name="poll-cd", persist_result=False)
async def poll_cd() -> State[Any]:
    """Stands for CD's poll."""
    return await ending(_order("poll-cd"), str)


@flow(name="guard", persist_result=False)
async def guard() -> State[Any]:
    """Stands for CD's guard."""
    return await ending(_order("guard"), str)


@flow(name="pull-requests", persist_result=False)
async def pull_requests() -> State[Any]:
    """Stands for CD's look at open pull requests."""
    return await ending(_order("pull-requests"), str)


def _stub(flow: BuiltIn) -> Flow[..., Any]:
    stub: Flow[..., Any] = globals()[flow.name.replace("-", "_")]
    return stub


def _by_own_clock(environment: str) -> int:
    """Stands for a resync without Prefect."""
    write_down.fn("own-clock", {"environment": environment})
    looked.note(_state(), environment)
    return 0


if __name__ == "__main__":
    run._flow = _stub
    run._by_own_clock = _by_own_clock
    sys.exit(run.main(sys.argv[1:]))
