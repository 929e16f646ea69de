"""One child process for each run, forked from a process that has imported everything before the first run comes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

from flows.prefork import MOST_BYTES
from interlock.contract.builtin import Half
from interlock.errors import PrefectError

LOST = -signal.SIGKILL
"""The status of a child whose parent ended first: nobody could say how it ended, and it was killed."""


@dataclass(eq=False)
class Child:
    """A run's process. It leads a process group of its own."""

    born: asyncio.Future[int]
    ended: asyncio.Future[int]

    @property
    def pid(self) -> int:
        return self.born.result()

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self.ended.result() if self.ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)


@dataclass(eq=False)
class _Parent:
    """The process that forks, as seen from the worker."""

    process: Process
    control: socket.socket
    children: dict[str, Child] = field(default_factory=dict)
    listening: asyncio.Task[None] | None = None

    @property
    def lives(self) -> bool:
        return self.listening is not None and not self.listening.done()

    async def listen(self) -> None:
        """Until it has ended."""
        loop = asyncio.get_running_loop()
        try:
            while message := await loop.sock_recv(self.control, MOST_BYTES):
                number, what, value = message.decode().split()
                child = self.children[number]
                if what == "born":
                    child.born.set_result(int(value))
                    continue
                child.born.cancel()  # of no effect, unless it failed at its birth
                child.ended.set_result(int(value))
                del self.children[number]
        finally:
            self._lose()

    def _lose(self) -> None:
        """Nobody tells any more how children end: what runs is killed, and the next run finishes its work."""
        for child in self.children.values():
            if child.born.done():
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.ended.set_result(LOST)
            else:
                child.born.cancel()
        self.children.clear()

    async def ask(self, number: str, line: str) -> Child:
        """A child with this line; CancelledError of its birth when the parent ended before."""
        loop = asyncio.get_running_loop()
        child = self.children[number] = Child(loop.create_future(), loop.create_future())
        await loop.sock_sendall(self.control, f"{number} {line}".encode())
        try:
            await asyncio.wait({child.born})
        except asyncio.CancelledError:
            child.born.add_done_callback(_end_unwanted)
            raise
        return child

    async def ended(self) -> None:
        """Wait until it has."""
        if self.listening:
            await asyncio.wait({self.listening})

    async def end(self) -> None:
        """Closing the control socket is how it is asked to."""
        if self.listening:
            self.listening.cancel()
            await asyncio.gather(self.listening, return_exceptions=True)
        self.control.close()
        await self.process.wait()


def _end_unwanted(born: asyncio.Future[int]) -> None:
    """Whoever asked for the child has gone before it came."""
    if not born.cancelled():
        with suppress(ProcessLookupError):
            os.killpg(born.result(), signal.SIGKILL)


class Nursery:
    """An async context manager; leaving it ends the parent, and kills what still runs."""

    def __init__(self, half: Half, environment: Mapping[str, str], *, module: str = "flows.run") -> None:
        self._command = (sys.executable, "-I", "-m", module, half)
        self._environment = dict(environment)
        self._numbers = count(1)
        self._parent: _Parent | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._parent = await self._started()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._parent:
            await self._parent.end()

    async def take(self, line: str) -> Child:
        """A child that was given this line. A parent that has ended meanwhile is replaced, once."""
        for _ in range(2):
            parent = await self._living()
            try:
                child = await parent.ask(str(next(self._numbers)), line)
            except ConnectionError:  # it ended while it was asked
                await parent.ended()
                continue
            if not child.born.cancelled():
                return child
        raise PrefectError("a run's process could not be started", hint="the worker's log says why")

    async def _living(self) -> _Parent:
        async with self._starting:
            if self._parent is None or not self._parent.lives:
                if self._parent:
                    await self._parent.end()
                self._parent = await self._started()
            return self._parent

    async def _started(self) -> _Parent:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=DEVNULL,
                stdout=None,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        parent = _Parent(process, ours)
        parent.listening = asyncio.create_task(parent.listen())
        return parent
