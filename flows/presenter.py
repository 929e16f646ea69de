"""How an order tells what it does: in Prefect by task runs and artifacts, on a terminal by lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID

import httpx
from prefect import Task, get_run_logger
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.utilities.annotations import quote

from flows import trail
from flows.waited import waited
from interlock.contract.report import Report
from tasks.common.effect import Effect
from tasks.common.redaction import redacted
from tasks.common.stopping import stoppable

P = ParamSpec("P")
R = TypeVar("R")
TELL_SECONDS = 30.0
"""How long Prefect may take to be told something; it is tried again meanwhile."""
AWAY_SECONDS = 10.0
"""After that it is told nothing for a while, so that no run waits for it again and again."""
FINISH_SECONDS = 10.0
"""How long a cancelled run waits for a step that is under way; half of what the worker gives it before SIGKILL."""


class Presenter(Protocol):
    """What an order may ask of whoever runs it."""

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one effect, away from the event loop; steps may run side by side with `asyncio.gather`."""

    async def show(self, report: Report) -> None:
        """Show a report. One with the same key and title replaces nothing: each is kept."""

    async def progress(self, key: str, done: float, note: str) -> None:
        """How far a long wait is, in percent (0 to 100), and what it waits for."""

    async def name(self, name: str) -> None:
        """Rename the run once its commit is known, such as `release shop 1a2b3c4`."""

    async def tag(self, *tags: str) -> None:
        """Mark the run, such as `environment:dev` or `application:shop`."""

    async def link(self, key: str, url: str, text: str) -> None:
        """A link that a reader may want to follow, such as the commit's."""

    def say(self, message: str) -> None:
        """One line in the log."""


class PrefectPresenter:
    """Tells it on the page of the flow run that this is called from."""

    def __init__(self) -> None:
        self._progress: dict[str, UUID] = {}
        self._unshown: list[Report] = []
        self._away_until = 0.0
        self._showing, self._tagging = asyncio.Lock(), asyncio.Lock()

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Quoted, Prefect does not search the arguments for futures: they are large, and its search calls `keys`.
        quoted = {name: quote(value) for name, value in kwargs.items()}
        stop, context = stoppable()
        # Prefect draws what comes after what, from the states that a task waits for.
        task: Any = partial(_task(effect), wait_for=trail.ends(), return_state=True)
        call = partial(context.run, task, *map(quote, args), **quoted)
        running = asyncio.get_running_loop().run_in_executor(None, call)
        try:
            state: State[R] = await waited(running, self.say, _named_after(effect))
        except asyncio.CancelledError:
            # What is under way ends, so that nobody still uses what the order's `finally` gives back.
            stop.ask()
            running.add_done_callback(_forget)
            await asyncio.wait({running}, timeout=FINISH_SECONDS)
            raise

        result: R = await state.aresult()
        # Prefect looks into all that a task waits for, and results are large.
        trail.went(state.model_copy(update={"data": quote(None)}))
        return result

    async def show(self, report: Report) -> None:
        """What could not be shown meanwhile is shown first."""
        self._unshown.append(report)
        async with self._showing:  # of components that are released side by side
            while self._unshown:
                first = self._unshown[0]
                if not await self._told(_shown(first), f"the report `{first.key}` ({first.title})"):
                    return
                self._unshown.pop(0)

    async def progress(self, key: str, done: float, note: str) -> None:
        note = redacted(note)
        await self._told(self._progressed(key, min(100.0, max(0.0, done)), note), note)

    async def _progressed(self, key: str, percent: float, note: str) -> None:
        if known := self._progress.get(key):
            await aupdate_progress_artifact(known, progress=percent, description=note)
        else:
            self._progress[key] = await acreate_progress_artifact(progress=percent, key=key, description=note)

    async def name(self, name: str) -> None:
        await self._told(_named(redacted(name)), f"the name {name}")

    async def tag(self, *tags: str) -> None:
        async with self._tagging:  # it reads before it writes
            await self._told(_tagged(tags), f"the tags {', '.join(tags)}")

    async def link(self, key: str, url: str, text: str) -> None:
        url, text = redacted(url), redacted(text)
        await self._told(acreate_link_artifact(link=url, link_text=text, key=key, description=text), url)

    def say(self, message: str) -> None:
        get_run_logger().info(message)

    async def _told(self, telling: Coroutine[Any, Any, object], what: str) -> bool:
        """Whether Prefect took it. While it is away, or knows the run no more, the run goes on: what it does to the
        cluster does not hang on being told of.
        """
        if time.monotonic() < self._away_until:
            telling.close()
            return False
        try:
            await asyncio.wait_for(telling, TELL_SECONDS)
        except (httpx.HTTPError, ObjectNotFound, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            self.say(f"Prefect was not told {what}: {type(error).__name__}: {error}")
            return False
        return True


def _named_after(effect: Effect[P, R]) -> str:
    subject = trail.subject()
    return f"{effect.name} of {subject}" if subject else effect.name


def _task(effect: Effect[P, R]) -> Task[P, R]:
    """The effect's task, named by what it is about."""
    subject = trail.subject()
    name = f"{effect.task_run_name} of {subject}" if subject else effect.task_run_name
    return effect.task.with_options(task_run_name=name)


def _forget(stopped: asyncio.Future[Any]) -> None:
    """How a stopped step failed is nobody's concern."""
    if not stopped.cancelled():
        stopped.exception()


async def _shown(report: Report) -> None:
    title = redacted(report.title)
    await acreate_markdown_artifact(key=report.key, description=title, markdown=f"# {title}\n\n{redacted(report.body)}")


async def _named(name: str) -> None:
    async with get_client() as client:
        await client.update_flow_run(_run_id(), name=name)


async def _tagged(tags: Sequence[str]) -> None:
    run = _run_id()
    async with get_client() as client:
        known = (await client.read_flow_run(run)).tags
        if missing := set(tags) - set(known):
            await client.update_flow_run(run, tags=[*known, *sorted(missing)])


def _run_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("a PrefectPresenter works only inside a flow run")
    return context.flow_run.id
