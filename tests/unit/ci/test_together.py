"""Steps side by side: what a failure does to the others, and how what works in a thread is stopped."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flows.ci.together import all_of, together
from tasks.common.stopping import is_stopped, stoppable, stopped_by


async def test_results_come_in_order() -> None:
    """Whichever ends first."""

    async def after(seconds: float, value: str) -> str:
        await asyncio.sleep(seconds)
        return value

    assert await together(after(0.02, "a"), after(0, "b")) == ("a", "b")
    assert await all_of([]) == ()


async def test_a_failure_cancels_the_others_and_waits_for_them() -> None:
    """It is told only when none of them works on."""
    ended: list[str] = []

    async def works() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append("works")

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await together(works(), fails())

    assert ended == ["works"]


async def test_who_is_cancelled_cancels_its_steps() -> None:
    """A run that Prefect cancels leaves no step running."""
    ended: list[str] = []

    async def works() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("works")

    walking = asyncio.ensure_future(all_of([works(), works()]))
    await asyncio.sleep(0.01)
    walking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await walking
    assert ended == ["works", "works"]


def test_a_step_is_stopped_from_another_thread() -> None:
    """By the way that it named; one that names it later is stopped at once."""
    stop, context = stoppable()
    begun, way = threading.Event(), threading.Event()

    def step() -> tuple[bool, bool]:
        with stopped_by(way.set):
            begun.set()
            stopped = way.wait(10)
        late = threading.Event()
        with stopped_by(late.set):
            return stopped and is_stopped(), late.is_set()

    told: list[tuple[bool, bool]] = []
    thread = threading.Thread(target=lambda: told.append(context.run(step)))
    thread.start()
    begun.wait(10)
    stop.ask()
    thread.join(10)

    assert told == [(True, True)]
    assert not is_stopped()
