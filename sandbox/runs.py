"""Prefect's runs as a person in front of its UI sees them: names, states, messages, pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.http import LOCAL
from sandbox.part import SandboxError, wait_until

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True)
class Run:
    """One flow run. `state` is its name, such as Completed, Blocked or Refused; `kind` is Prefect's state type."""

    id: str
    name: str
    kind: str
    state: str
    message: str
    began: str
    seconds: float
    parameters: dict[str, Any]
    tags: frozenset[str]

    @property
    def ended(self) -> bool:
        return self.kind in ENDED


@dataclass(frozen=True)
class Step:
    """One task run."""

    name: str
    kind: str
    seconds: float

    @property
    def ended(self) -> bool:
        return self.kind in ENDED


@dataclass(frozen=True)
class Runs:
    """A window on a Prefect server; `page` is where its UI is."""

    page: str

    def url(self, run: Run) -> str:
        return f"{self.page}/runs/flow-run/{run.id}"

    def of(self, *flows: str, known: frozenset[str] = frozenset()) -> list[Run]:
        """Runs of these flows that have begun, in that order, without those whose id is known already."""
        begun = {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}}
        found = self._post(
            "flow_runs/filter",
            {"flows": {"name": {"any_": [*flows]}}, "flow_runs": begun, "sort": "START_TIME_DESC", "limit": 50},
        )
        runs = (_run(each) for each in found if each["id"] not in known)
        return sorted(runs, key=lambda run: run.began)

    def ids(self, flow: str) -> frozenset[str]:
        """The ids of all runs of a flow that have begun so far: what begins later is new."""
        return frozenset(run.id for run in self.of(flow))

    def ended(self, flow: str) -> frozenset[str]:
        """The ids of all runs of a flow that are over: one under way may still see what happens now."""
        return frozenset(run.id for run in self.of(flow) if run.ended)

    def steps(self, run: Run) -> list[Step]:
        """Task runs that have started, in order."""
        found = self._post(
            "task_runs/filter",
            {"flow_runs": {"id": {"any_": [run.id]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 50},
        )
        return [_step(each) for each in found if each["start_time"]]

    def get(self, run: Run) -> Run:
        return _run(self._get(f"flow_runs/{run.id}"))

    def pages(self, run: Run) -> dict[str, str]:
        """The run's reports: key → Markdown."""
        return {each["key"]: each["data"] for each in self._reports(run) if each["type"] == "markdown"}

    def headlines(self, run: Run) -> dict[str, str]:
        """What each of the run's reports says in one line, progress too: key → line."""
        return {each["key"]: each["description"] for each in self._reports(run)}

    def start(self, deployment: str, **parameters: str) -> None:
        """What a person does with the form of `<flow>/<deployment>`."""
        found = self._get(f"deployments/name/{deployment}")
        self._post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})

    def _reports(self, run: Run) -> list[dict[str, Any]]:
        wanted = {"flow_run_id": {"any_": [run.id]}}
        found: list[dict[str, Any]] = self._post("artifacts/filter", {"artifacts": wanted, "limit": 200})
        return found

    def automations(self) -> list[dict[str, Any]]:
        """What starts runs by itself."""
        found: list[dict[str, Any]] = self._post("automations/filter", {})
        return found

    def wait_for_automations(self, *names: str, seconds: float = 60) -> None:
        """Until Prefect has them: from then on, a webhook's event starts a run."""
        wait_until(
            lambda: self._has_automations(names), subject=f"automations {', '.join(names)} in Prefect", seconds=seconds
        )

    def _has_automations(self, names: Collection[str]) -> bool:
        """No answer means not yet: a busy server is asked again."""
        try:
            return {*names} <= {one["name"] for one in self.automations()}
        except (httpx.TransportError, SandboxError):
            return False

    def wait(
        self,
        *flows: str,
        known: frozenset[str],
        seconds: float,
        accept: Callable[[Run], bool] = lambda run: True,
        on_run: Callable[[Run], None] = lambda run: None,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> Run:
        """The first new run of one of the flows that has ended and is accepted; its steps are told as they end."""
        deadline = time.monotonic() + seconds
        told: set[tuple[str, str]] = set()
        others: set[str] = set()  # ended and not wanted: a busy server is not asked for their steps again
        while time.monotonic() < deadline:
            # A busy server may take longer than we wait; asking again is all there is to do.
            with suppress(httpx.TransportError):
                for run in self.of(*flows, known=known | others):
                    self._tell(run, told, on_run, on_step)
                    if run.ended and accept(run):
                        return run
                    if run.ended:
                        others.add(run.id)
            time.sleep(1)
        raise SandboxError(
            f"flow {' or '.join(flows)}: no new run ended as expected in {seconds:g} s; see {self.page}/runs"
        )

    def _tell(
        self, run: Run, told: set[tuple[str, str]], on_run: Callable[[Run], None], on_step: Callable[[Step], None]
    ) -> None:
        if (run.id, "") not in told:
            told.add((run.id, ""))
            on_run(run)
        for step in self.steps(run):
            if step.ended and (run.id, step.name) not in told:
                told.add((run.id, step.name))
                on_step(step)

    def _post(self, path: str, body: object) -> Any:
        return _answer(LOCAL.post(f"{self.page}/api/{path}", json=body, timeout=30))

    def _get(self, path: str) -> Any:
        return _answer(LOCAL.get(f"{self.page}/api/{path}", timeout=30))


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise SandboxError(f"prefect: {response.request.url.path}: {response.status_code} {response.text[:300]}")
    return response.json()


def _run(body: dict[str, Any]) -> Run:
    state = body["state"] or {}
    return Run(
        id=body["id"],
        name=body["name"],
        kind=body["state_type"] or "PENDING",
        state=state.get("name") or "",
        message=state.get("message") or "",
        began=body["start_time"] or "",
        seconds=body["total_run_time"],
        parameters=body["parameters"],
        tags=frozenset(body["tags"]),
    )


def _step(body: dict[str, Any]) -> Step:
    return Step(name=body["name"], kind=body["state_type"] or "PENDING", seconds=body["total_run_time"])
