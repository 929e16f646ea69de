"""Children that have imported everything and wait for one run each: it takes the seconds of start-up out of a push."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from interlock.contract.builtin import Half
from interlock.errors import PrefectError

REFILL_SECONDS = 2.0
"""A new child starts when the run that took the last one is under way: both want the processor."""


class Nursery:
    """An async context manager; leaving it ends the children that wait."""

    def __init__(
        self, half: Half, environment: Mapping[str, str], *, module: str = "flows.run", spare: int = 1
    ) -> None:
        self._command = (sys.executable, "-I", "-m", module, half)
        self._environment = dict(environment)
        self._spare = spare
        self._waiting: deque[Process] = deque()
        self._refill: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._fill()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._refill:
            self._refill.cancel()
        for child in self._waiting:
            _close(child)
            await child.wait()

    async def take(self, line: str) -> Process:
        """A child that was given this line; a new one when none waits."""
        child = self._next() or await self._born()
        if child.stdin is None:
            raise PrefectError("a child has no standard input")
        child.stdin.write(f"{line}\n".encode())
        _close(child)
        if self._refill is None or self._refill.done():
            self._refill = asyncio.create_task(self._fill_later())
        return child

    def _next(self) -> Process | None:
        while self._waiting:
            child = self._waiting.popleft()
            if child.returncode is None:
                return child
        return None

    async def _fill_later(self) -> None:
        await asyncio.sleep(REFILL_SECONDS)
        await self._fill()

    async def _fill(self) -> None:
        while len(self._waiting) < self._spare:
            self._waiting.append(await self._born())

    async def _born(self) -> Process:
        # A session of its own: Ctrl-C reaches the worker alone, which then ends the child and what it started.
        return await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=None, env=self._environment, cwd="/", start_new_session=True
        )


def _close(child: Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
