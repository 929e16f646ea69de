"""Our own Prefect worker type, `interlock`: a run may choose a built-in flow and its checked parameters, nothing else.

Prefect is not trusted (whoever reaches its API can edit every deployment), so of a run's command, environment,
entrypoint, path, pull steps, job template, working directory and result storage nothing is read at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import anyio
import httpx
from anyio.abc import TaskStatus
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed, Failed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.nursery import Child, Nursery
from interlock.contract.builtin import WORKER_TYPE, Half, Known, built_in, checked
from interlock.errors import InterlockError

GRACE_SECONDS = 20.0
NEVER = datetime.min.replace(tzinfo=UTC)
KEPT = (
    "PATH", "HOME", "TMPDIR", "LANG", "PREFECT_HOME", "PREFECT_LOGGING_LEVEL", "PREFECT_API_AUTH_STRING",
    "SSL_CERT_FILE",
)  # fmt: skip
"""What a child gets of the worker's own environment."""
AWAY_SECONDS = 2.0
MOST_RUNS = 8
"""Runs of one pool at a time; the others wait in Prefect. Each is a process of some 100 MB."""
SETTLE_SECONDS = 3600.0
"""How long a worker waits for Prefect to tell it how a run ended whose own process could not."""
LOOK_SECONDS = 1.0
"""How often a running run is asked whether it is to be cancelled."""
SEEN_SECONDS = 10.0
"""How often the pool is asked for its due runs although none is due, so that Prefect shows its queue as polled."""


class NoConfiguration(BaseJobConfiguration):
    """What a pool's template, a deployment and a run want of the infrastructure: nothing of it is taken."""

    @classmethod
    async def from_template_and_values(cls, *_: Any, **__: Any) -> Self:
        return cls()


class NoVariables(BaseVariables):
    """A pool of this type has none."""

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return {"type": "object", "properties": {}}


class InterlockWorker(BaseWorker[NoConfiguration, NoVariables, BaseWorkerResult]):
    """Takes runs of one pool. `kill_infrastructure` is left out on purpose: its process id would come from Prefect."""

    type = WORKER_TYPE
    job_configuration = NoConfiguration
    job_configuration_variables = NoVariables
    _description = "Runs Interlock's built-in flows with checked parameters, and nothing else that a run may carry."
    _display_name = "Interlock"

    def __init__(self, work_pool_name: str, *, half: Half, nursery: Nursery, known: Callable[[], Known]) -> None:
        super().__init__(
            work_pool_name,
            name=f"{work_pool_name} on {socket.gethostname()}",
            prefetch_seconds=0,
            limit=MOST_RUNS,
            create_pool_if_not_found=False,  # `declare` makes it, without a template
        )
        self._half, self._nursery, self._known = half, nursery, known
        self._under_way: Counter[str] = Counter()
        self._asked_at = -SEEN_SECONDS

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """As the base, but a server that is away ends neither this worker nor the runs under way."""
        try:
            return await super().get_and_submit_flow_runs()
        except (httpx.HTTPError, PrefectException, ValueError) as error:  # what it answers may not be Prefect's
            self._logger.warning("Prefect does not answer: %s", error or type(error).__name__)
            await asyncio.sleep(AWAY_SECONDS)
            return []

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """What is due, without what a schedule has asked for again since, or while the same is under way."""
        if not await self._is_any_due():
            return []
        due = await super()._get_scheduled_flow_runs()
        stale = outdated([entry.flow_run for entry in due], +self._under_way)
        for run in stale:
            await self._end(run, Cancelled(name="Skipped", message="The same is under way, or was due again since."))
        return [entry for entry in due if entry.flow_run.id not in stale]

    async def _is_any_due(self) -> bool:
        """Counting is cheap for Prefect; handing runs out also writes down that the pool and its queue were asked.

        It counts too many, when the pool is paused or full, and never too few.
        """
        now = time.monotonic()
        if now - self._asked_at < SEEN_SECONDS:
            due = FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
            )
            pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name]))
            if not await self.client.count_flow_runs(flow_run_filter=due, work_pool_filter=pool):
                return False
        self._asked_at = now
        return True

    async def sync_with_backend(self) -> None:
        """As the base, but a server that is away is asked again."""
        try:
            await super().sync_with_backend()
        except (httpx.HTTPError, PrefectException, ValueError) as error:
            self._logger.warning("no heartbeat could be sent: %s", error or type(error).__name__)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Not told: one more write for each run, and a run would crash when Prefect's database is busy with others."""

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Not told, for the same reason: a waiting child takes the run over at once."""

    async def run(
        self, flow_run: FlowRun, configuration: NoConfiguration, task_status: TaskStatus[Any] | None = None
    ) -> BaseWorkerResult:
        """Run it in a child and stay until it has ended; a run that asks for something else ends as refused."""
        started = task_status or anyio.TASK_STATUS_IGNORED
        try:
            flow = built_in(self._half, (await self.client.read_flow(flow_run.flow_id)).name)
            checked(flow, flow_run.parameters, self._known())
        except InterlockError as refusal:
            started.started("refused")
            await self._end(flow_run.id, Failed(name="Refused", message=str(refusal)))
            return BaseWorkerResult(identifier="refused", status_code=0)
        child = await self._nursery.take(f"{flow.name} {flow_run.id}")
        started.started(child.pid)
        asked = _asked(flow_run)
        self._under_way[asked] += 1
        try:
            await self._stay(flow_run.id, child)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await stop(child)
                await self._settle(flow_run.id, "was stopped together with its worker")
            raise
        finally:
            self._under_way[asked] -= 1
        return BaseWorkerResult(identifier=str(child.pid), status_code=0)

    async def _stay(self, run: UUID, child: Child) -> None:
        """Until the child has ended, by itself or because somebody cancelled the run."""
        ended = asyncio.ensure_future(child.wait())
        while not (await asyncio.wait({ended}, timeout=LOOK_SECONDS))[0]:
            if await self._is_cancelled(run):
                break
        await stop(child)
        await self._settle(run, _how_it_ended(await ended), patience=SETTLE_SECONDS)

    async def _is_cancelled(self, run: UUID) -> bool:
        """No answer means no: a deploy goes on while Prefect is away, and also when its database was wiped."""
        ended = FlowRunFilterStateType(any_=[StateType.CANCELLING, StateType.CANCELLED])
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]), state=FlowRunFilterState(type=ended))
        try:
            return await self.client.count_flow_runs(flow_run_filter=mine) > 0
        except (httpx.HTTPError, ValueError, TypeError) as error:  # what it answers may not be a number
            self._logger.debug("run %s: %s", run, error)
            return False

    async def _settle(self, run: UUID, how: str, *, patience: float = 0.0) -> None:
        """Give the run a final state when its own process could not. Prefect may be away for `patience` seconds."""
        until = time.monotonic() + patience
        while True:
            try:
                state = (await self.client.read_flow_run(run)).state
                break
            except (ObjectNotFound, httpx.HTTPError) as error:
                if isinstance(error, ObjectNotFound) or time.monotonic() > until:
                    self._logger.warning("run %s %s, which Prefect was not told: %s", run, how, error)
                    return
            await asyncio.sleep(AWAY_SECONDS)
        if state is not None and state.is_cancelling():
            await self._end(run, Cancelled(message="Cancelled. What was under way has cleaned up after itself."))
        elif state is None or not state.is_final():
            await self._end(run, Crashed(message=f"The run's process {how}. Start it again: it goes on where it was."))

    async def _end(self, run: UUID, state: Any) -> None:
        try:
            await self.client.set_flow_run_state(run, state, force=True)
        except (ObjectNotFound, httpx.HTTPError) as error:
            self._logger.warning("run %s ended as %s, which Prefect was not told: %s", run, state.name, error)


def outdated(due: Iterable[FlowRun], under_way: Container[str] = ()) -> frozenset[UUID]:
    """Of runs that schedules made with the same parameters, all but the newest; all, when the same is `under_way`."""
    newest: dict[str, FlowRun] = {}
    runs = [run for run in due if run.auto_scheduled]
    for run in sorted(runs, key=lambda run: run.expected_start_time or run.created or NEVER):
        newest[_asked(run)] = run
    return frozenset(run.id for run in runs if newest[_asked(run)].id != run.id or _asked(run) in under_way)


def _asked(run: FlowRun) -> str:
    return f"{run.flow_id} {run.deployment_id} {sorted(run.parameters.items())}"


def _how_it_ended(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


async def stop(child: Child, grace_seconds: float = GRACE_SECONDS) -> None:
    """End the child, if it has not ended, and everything it started: SIGTERM, on which flows clean up, then SIGKILL."""
    if child.returncode is None:
        _signal(child, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), grace_seconds)
    _signal(child, signal.SIGKILL)
    await child.wait()


def _signal(child: Child, number: signal.Signals) -> None:
    """To the child's whole process group, which it leads and which outlives it."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def surroundings(config: str, prefect: str) -> Mapping[str, str]:
    """The whole environment of a child: nothing of Prefect's and little of the worker's own goes in."""
    return {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "INTERLOCK_CONFIG": config,
        "PREFECT_API_URL": prefect,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",  # Prefect's client would report home
    }
