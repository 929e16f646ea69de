"""Writing to the branch that all of CI's writers share: in turn on one host, and again when another host was faster."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from interlock.ci.race import pause
from interlock.errors import PushRejected
from tasks.ci.queue import queued
from tasks.ci.release_commit import read_mark, write_mark
from tasks.common import clock
from tasks.common.environment_repository import fetch_verified

if TYPE_CHECKING:
    from pathlib import Path

    from flows.presenter import Presenter
    from interlock.ci.host import CiHost
    from tasks.common.environment_repository import VerifiedHead

R = TypeVar("R")
_LOOK_SECONDS = 0.05


async def fetch_environments(presenter: Presenter, host: CiHost) -> VerifiedHead:
    """The environment repository's verified head, never one that does not follow the last."""
    verified = await presenter.step(
        fetch_verified, host.environment_repository, state=host.state, since=read_mark(host.state)
    )
    write_mark(host.state, verified.commit)
    clock.remember(host.state)
    return verified


async def in_turn(
    presenter: Presenter,
    host: CiHost,
    desired: VerifiedHead | None,
    attempt: Callable[[VerifiedHead], Awaitable[R]],
    *,
    what: str,
) -> R:
    """What `attempt` gives, made on a verified head, again on the newer one whenever its push comes too late.

    `desired` is the head that the caller has just verified; None when that is too long ago to build on. PushRejected,
    transient, when patience is over.
    """
    async with _turn(presenter, host.state, what) as had_to_wait:
        if had_to_wait or desired is None:
            desired = await fetch_environments(presenter, host)
        began, lost = time.monotonic(), 0
        while True:
            tried = time.monotonic()
            try:
                return await attempt(desired)
            except PushRejected as error:
                lost, now = lost + 1, time.monotonic()
                chance = random.random()  # noqa: S311 - nobody gains by guessing it
                seconds = pause(lost, took=now - tried, waited=now - began, chance=chance)
                if seconds is None:
                    raise PushRejected(
                        f"{what} lost {lost} races for the branch",
                        hint="start it again; what was built and pushed is kept",
                        transient=True,
                    ) from error
                presenter.say(f"{error.message}; verifying what came, and deciding again in {seconds:.1f} s")
            await asyncio.sleep(seconds)
            desired = await fetch_environments(presenter, host)


@asynccontextmanager
async def _turn(presenter: Presenter, state: Path, what: str) -> AsyncIterator[bool]:
    """One writer of this host at a time, in the order in which they came. Whether others were before us."""
    with queued(state) as ours:
        first = ours()
        if not first:
            presenter.say(f"{what}: others of this host write to the branch; waiting in the queue")
        while not ours():  # noqa: ASYNC110 - what is waited for are other processes
            await asyncio.sleep(_LOOK_SECONDS)
        yield not first
