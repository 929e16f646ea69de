"""`interlock worker ci|cd`: one worker for each of the half's pools, and the declaration kept in Prefect."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from logging import INFO, WARNING
from typing import Any

from prefect.context import refresh_global_settings_context
from prefect.logging import get_logger

from flows.clock import keep
from flows.nursery import Nursery
from flows.worker import InterlockWorker, surroundings
from interlock.contract.builtin import Half
from interlock.errors import InterlockError
from tasks.common import alive, host
from tasks.common.declare import declare, wanted
from tasks.common.prefect_api import connected

DECLARE_SECONDS = 30.0
LOOK_SECONDS = 2.0
"""How often it looks whether the host's file was written, and declares again what could not be declared."""
POLL_SECONDS = 1.0
log = get_logger("interlock")


def serve(half: Half, *, module: str = "flows.run") -> None:
    """Serve until SIGTERM or SIGINT, which end the runs under way too; HostConfigError when the host's file is wrong.

    Prefect may be away or forget everything: the worker waits, and declares again.
    """
    loaded = load(half)
    settings = {
        "PREFECT_API_URL": loaded.prefect,
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        "PREFECT_WORKER_ENABLE_CANCELLATION": "false",  # the worker looks itself, at its own children only
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    }
    os.environ.update(settings)
    refresh_global_settings_context()
    asyncio.run(_serve(half, Nursery(half, surroundings(str(host.path()), loaded.prefect), module=module)))


def load(half: Half) -> Any:
    """The half's host file: CiHost or CdHost."""
    return host.load_half(half)


async def _serve(half: Half, nursery: Nursery) -> None:
    """Until a signal or until a worker fails: declare again and again, and keep a worker for each pool there is."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    workers: dict[str, asyncio.Task[None]] = {}
    async with nursery:
        waiting = asyncio.create_task(stopped.wait())
        beating = asyncio.create_task(_beat(half))
        clock = asyncio.create_task(keep(lambda: load(half), nursery)) if half == "cd" else None
        ended: set[asyncio.Task[Any]] = set()
        declared_at, written_at = 0.0, -1
        while not ended:
            if time.monotonic() - declared_at > DECLARE_SECONDS or _written_at() != written_at:
                written_at = _written_at()
                declared_at = time.monotonic() if await _declare(half) else 0.0
                pools = _pools(half)
                gone = [workers.pop(pool) for pool in list(workers) if pools is not None and pool not in pools]
                await _end(gone)
                for pool in pools or ():
                    workers[pool] = workers.get(pool) or asyncio.create_task(_worker(pool, half, nursery).start())
            ended, _ = await asyncio.wait(
                {waiting, *workers.values()}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        waiting.cancel()
        beating.cancel()
        if clock:
            await _end([clock])
        outcomes = await _end(workers.values())
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def _beat(half: Half) -> None:
    """As long as this process takes turns, whoever asks can see it."""
    while True:
        with suppress(OSError, InterlockError):  # a full disk or a wrong file stops no worker
            alive.beat(load(half).state)
        await asyncio.sleep(alive.BEAT_SECONDS)


def _written_at() -> int:
    """When the host's file was written, in nanoseconds; 0 while there is none."""
    try:
        return host.path().stat().st_mtime_ns
    except OSError:
        return 0


def _worker(pool: str, half: Half, nursery: Nursery) -> InterlockWorker:
    return InterlockWorker(pool, half=half, nursery=nursery, known=lambda: load(half).known)


async def _end(workers: Collection[asyncio.Task[None]]) -> list[BaseException | None]:
    """Cancel them, which ends their runs too; how each ended."""
    for worker in workers:
        worker.cancel()
    return await asyncio.gather(*workers, return_exceptions=True)


def _pools(half: Half) -> tuple[str, ...] | None:
    """None while the host's file is wrong, which `_declare` has said: those that are served stay so."""
    try:
        return tuple(ground.pool for ground in load(half).grounds)
    except InterlockError:
        return None


async def _declare(half: Half) -> bool:
    """Say what had to be changed; False when it could not be done now."""
    try:
        for line in await asyncio.to_thread(declared, half):
            by_hand = line.endswith("put back")
            log.log(
                WARNING if by_hand else INFO, "declared: %s%s", line, ": somebody had changed it" if by_hand else ""
            )
    except InterlockError as error:
        log.warning("not declared: %s", error)
        return False
    return True


def declared(half: Half) -> tuple[str, ...]:
    """Declare this half once; what was changed."""
    loaded = load(half)
    with connected(loaded.prefect) as api:
        return declare(api, wanted(half, loaded.grounds))
