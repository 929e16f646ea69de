"""The worker runs built-in flows with checked parameters, whatever a run carries in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.prefect.conftest import Worker

Start = Callable[..., str]
Ended = Callable[..., dict[str, Any]]


def test_runs_a_built_in_flow(worker: Worker, start: Start, ended: Ended) -> None:
    """A run of a built-in flow with registered parameters runs, and its state says what happened."""
    state = ended(start("plan/sandbox", parameters={"environment": "dev"}))

    assert (state["name"], state["message"]) == ("Completed", "plan ran")
    [ran] = worker.runs()
    assert ran["values"] == {"environment": "dev", "revision": None}
