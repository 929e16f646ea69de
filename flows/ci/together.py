"""Steps side by side. All have ended before a failure is told, so nothing works on in a folder that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar, overload

from flows.trail import join, start

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@overload
async def together(first: Awaitable[A], second: Awaitable[B], /) -> tuple[A, B]: ...
@overload
async def together(first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], /) -> tuple[A, B, C]: ...
async def together(*steps: Awaitable[Any]) -> tuple[Any, ...]:
    """The results in order. A failure cancels the other steps, which nobody needs any more."""
    return await all_of(steps)


async def all_of(steps: Iterable[Awaitable[A]]) -> tuple[A, ...]:
    """The same for any number of one kind. Of several failures the first in the order given is told."""
    tasks = [start(step) for step in steps]
    if not tasks:
        return ()
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await _ended(tasks)
    failures = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if failures:
        raise failures[0]
    join(*tasks)
    return tuple(task.result() for task in tasks)


async def _ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel what is not done, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
