"""A resync without Prefect: what the worker starts by its own clock when no run of Prefect's has come for too long."""

from __future__ import annotations

import asyncio
import logging
from typing import ParamSpec, TypeVar

from flows.cd.resync import resync_order
from interlock.contract.report import Report
from interlock.errors import InterlockError
from tasks.cd.host import load_cd
from tasks.common.effect import Effect

P = ParamSpec("P")
R = TypeVar("R")
ACTOR = "the worker's own clock"
log = logging.getLogger("interlock")


class LogPresenter:
    """Tells it in the worker's log: the titles of reports, and what is said."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(effect.fn, *args, **kwargs)

    async def show(self, report: Report) -> None:
        self.say(report.title)

    async def progress(self, key: str, done: float, note: str) -> None:
        """A log has no bars."""

    async def name(self, name: str) -> None:
        self.say(name)

    async def tag(self, *tags: str) -> None:
        """A log has no tags."""

    async def link(self, key: str, url: str, text: str) -> None:
        """Nor links."""

    def say(self, message: str) -> None:
        log.warning("%s, by %s: %s", self._environment, ACTOR, message)


def run(environment: str) -> int:
    """One resync; 0 when it went well. Why it did not is in the log, and in the ledger as after any run."""
    presenter = LogPresenter(environment)
    try:
        outcome = asyncio.run(resync_order(presenter, load_cd(), environment, actor=ACTOR))
    except InterlockError as error:
        presenter.say(str(error))
        return error.exit_code
    presenter.say(outcome.sentence)
    return 0
