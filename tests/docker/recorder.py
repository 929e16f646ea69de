"""A presenter that remembers everything, and can end the process at a chosen step."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from interlock.contract.report import Report
from tasks.common.effect import Effect
from tasks.common.stopping import stoppable

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Recorder:
    """Runs effects as plain functions.

    `kill_after`: SIGKILL to ourselves when the effect of that name has ended; `kill_during`: two seconds after it has
    begun. `before`: something that happens in the
    world just before an effect starts for the first time.
    """

    kill_after: str = ""
    kill_during: str = ""
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if happen := self.before.pop(effect.name, None):
            happen()
        if effect.name == self.kill_during:
            threading.Timer(2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        began = time.monotonic()
        self.steps.append(effect.name)
        try:
            return await _stoppable(effect.fn, *args, **kwargs)
        finally:
            self.seconds[effect.name] = time.monotonic() - began
            self.spans.append((effect.name, began, time.monotonic()))
            if effect.name == self.kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

    async def show(self, report: Report) -> None:
        self.reports.append(report)

    async def progress(self, key: str, done: float, note: str) -> None:
        self.said.append(f"{key} {done:.0f} {note}")

    async def tag(self, *tags: str) -> None:
        self.tags.extend(tags)

    async def link(self, key: str, url: str, text: str) -> None:
        self.links.append(url)

    async def name(self, name: str) -> None:
        self.names.append(name)

    def say(self, message: str) -> None:
        self.said.append(message)

    def most_at_once(self, *names: str) -> int:
        """How many steps of these names were under way at the same moment."""
        own = [(began, ended) for name, began, ended in self.spans if name in names]
        return max((sum(began <= moment < ended for began, ended in own) for moment, _ in own), default=0)

    def report(self, key: str) -> Report:
        """The last one of that key."""
        return next(report for report in reversed(self.reports) if report.key == key)


async def _stoppable(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """As the product's presenters do: a cancelled step is stopped, and waited for."""
    stop, context = stoppable()
    call = partial(context.run, function, *args, **kwargs)
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.ask()
        await asyncio.gather(running, return_exceptions=True)
        raise
