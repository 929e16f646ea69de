"""How an order tells what it does: in Prefect by task runs and artifacts, on a terminal by lines."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, Protocol, TypeVar, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.utilities.annotations import quote

from interlock.contract.report import Report
from tasks.common.effect import Effect

P = ParamSpec("P")
R = TypeVar("R")
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

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Quoted, Prefect does not search the arguments for futures: they are large, and its search calls `keys`.
        quoted = {name: quote(value) for name, value in kwargs.items()}
        call = partial(copy_context().run, effect, *map(quote, args), **quoted)  # type: ignore[arg-type]
        running = asyncio.get_running_loop().run_in_executor(None, call)
        try:
            return cast("R", await asyncio.shield(running))
        except asyncio.CancelledError:
            # What is under way may finish, so that nobody still uses what the order's `finally` gives back.
            await asyncio.wait({running}, timeout=FINISH_SECONDS)
            raise

    async def show(self, report: Report) -> None:
        await acreate_markdown_artifact(
            key=report.key, description=report.title, markdown=f"# {report.title}\n\n{report.body}"
        )

    async def progress(self, key: str, done: float, note: str) -> None:
        percent = min(100.0, max(0.0, done))
        if known := self._progress.get(key):
            await aupdate_progress_artifact(known, progress=percent, description=note)
        else:
            self._progress[key] = await acreate_progress_artifact(progress=percent, key=key, description=note)

    async def name(self, name: str) -> None:
        async with get_client() as client:
            await client.update_flow_run(_run_id(), name=name)

    async def tag(self, *tags: str) -> None:
        run = _run_id()
        async with get_client() as client:
            known = (await client.read_flow_run(run)).tags
            if missing := set(tags) - set(known):
                await client.update_flow_run(run, tags=[*known, *sorted(missing)])

    async def link(self, key: str, url: str, text: str) -> None:
        await acreate_link_artifact(link=url, link_text=text, key=key, description=text)

    def say(self, message: str) -> None:
        get_run_logger().info(message)


def _run_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("a PrefectPresenter works only inside a flow run")
    return context.flow_run.id
