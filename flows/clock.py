"""CD's own clock beside Prefect's schedules: who can edit those must not be able to keep an environment from its sync.

A schedule that is paused or gone, runs that somebody cancels as they come, a limit that is held, a flooded queue,
Prefect away: in each case no run looks at the environment, which is all that is asked here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from prefect.logging import get_logger

from flows.nursery import Nursery
from flows.worker import stop
from interlock.errors import InterlockError

OWN_CLOCK = "own-clock"
"""What a child is asked for in the place of a flow's name."""
TURN_SECONDS = 2.0
SLACK_SECONDS = 30.0
"""How much later than its schedule a run may come: the worker may have been busy."""
log = get_logger("interlock")


def late(*, every: float, seconds_ago: float | None, watched: float) -> bool:
    """Whether no run has come for so long that none will. `watched`: for how long somebody has looked for one."""
    since = watched if seconds_ago is None else min(seconds_ago, watched)
    return since > 2 * every + SLACK_SECONDS


async def keep(load: Callable[[], Any], nursery: Nursery) -> None:
    """For ever: start what is late. One run for each environment at a time."""
    seconds_ago = import_module("tasks.cd.looked").seconds_ago
    watched: dict[str, float] = {}
    running: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            with suppress(InterlockError):  # a host's file that is wrong is told by who declares
                host = load()
                for name, every in _intervals(host).items():
                    since = watched.setdefault(name, time.monotonic())
                    if name in running and not running[name].done():
                        continue
                    if late(every=every, seconds_ago=seconds_ago(host.state, name), watched=time.monotonic() - since):
                        log.warning("%s: no run of Prefect's looked at it in time: the worker's own clock does", name)
                        watched[name] = time.monotonic()
                        running[name] = asyncio.create_task(_resync(name, nursery))
            await asyncio.sleep(TURN_SECONDS)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


def _intervals(host: Any) -> Mapping[str, float]:
    return {name: float(ceiling.resync_seconds) for name, ceiling in host.environments.items()}


async def _resync(environment: str, nursery: Nursery) -> None:
    child = await nursery.take(f"{OWN_CLOCK} {environment}")
    try:
        await child.wait()
    finally:
        await stop(child)
