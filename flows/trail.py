"""Which steps an order's next one comes after, so that whoever shows a run can draw it as a graph.

Each asyncio task has a context of its own, and with it its own end of the trail; who joins tasks takes theirs over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

A = TypeVar("A")

_ENDS: ContextVar[tuple[Any, ...]] = ContextVar("ends", default=())
_ABOUT: ContextVar[str] = ContextVar("about", default="")
_CONTEXTS: WeakKeyDictionary[asyncio.Future[Any], Context] = WeakKeyDictionary()


def ends() -> tuple[Any, ...]:
    """What stands for the steps that the next one comes after; whoever shows them knows what it is."""
    return _ENDS.get()


def went(step: object) -> None:
    """A step has ended: what comes next comes after this one alone."""
    _ENDS.set((step,))


def start(step: Awaitable[A]) -> asyncio.Future[A]:
    """Begin something beside what comes next; after the steps that came before."""
    if isinstance(step, asyncio.Future):
        return step
    context = copy_context()
    task = asyncio.get_running_loop().create_task(_coroutine(step), context=context)
    _CONTEXTS[task] = context
    return task


def join(*tasks: asyncio.Future[Any]) -> None:
    """What comes next comes after all of these too."""
    theirs = [end for task in tasks if (context := _CONTEXTS.get(task)) for end in context.get(_ENDS, ())]
    own = () if theirs else _ENDS.get()
    _ENDS.set(tuple({id(end): end for end in (*own, *theirs)}.values()))


async def shared(task: asyncio.Future[A]) -> A:
    """Wait for what others wait for too: whoever is cancelled leaves it to them."""
    before = _ENDS.get()
    result = await asyncio.shield(task)
    join(task)
    _ENDS.set(tuple({id(end): end for end in (*before, *_ENDS.get())}.values()))
    return result


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Steps in the block are about this, such as one component of several."""
    token = _ABOUT.set(subject)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def subject() -> str:
    """What steps are about now; empty when it is all the same."""
    return _ABOUT.get()


def _coroutine(step: Awaitable[A]) -> Coroutine[Any, Any, A]:
    if asyncio.iscoroutine(step):
        return step

    async def awaited() -> A:
        return await step

    return awaited()
