"""`interlock worker ci|cd`: one worker for each of the half's pools, and the declaration kept in Prefect."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib import import_module
from typing import Any

from prefect.context import refresh_global_settings_context
from prefect.logging import get_logger

from flows.nursery import Nursery
from flows.worker import InterlockWorker, surroundings
from interlock.contract.builtin import Half
from interlock.errors import InterlockError
from tasks.common import host
from tasks.common.declare import declare, wanted
from tasks.common.prefect_api import connected

DECLARE_SECONDS = 30.0
AGAIN_SECONDS = 2.0
POLL_SECONDS = 1.0
log = get_logger("interlock")


def serve(half: Half, *, module: str = "flows.run", spare: int = 1) -> None:
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
    asyncio.run(
        _serve(half, loaded, Nursery(half, surroundings(str(host.path()), loaded.prefect), module=module, spare=spare))
    )


def load(half: Half) -> Any:
    """The half's host file: CiHost or CdHost. Imported by name, so that no half ever imports the other."""
    return getattr(import_module(f"tasks.{half}.host"), f"load_{half}")()


async def _serve(half: Half, loaded: Any, nursery: Nursery) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with nursery:
        workers = [
            InterlockWorker(ground.pool, half=half, nursery=nursery, known=lambda: load(half).known)
            for ground in loaded.grounds
        ]
        running = [asyncio.create_task(worker.start()) for worker in workers]
        running.append(asyncio.create_task(_keep_declared(half)))
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait({*running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*running, waiting):
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def _keep_declared(half: Half) -> None:
    while True:
        pause = DECLARE_SECONDS if await _declare(half) else AGAIN_SECONDS
        await asyncio.sleep(pause)


async def _declare(half: Half) -> bool:
    """Say what had to be changed; False when it could not be done now."""
    try:
        for line in await asyncio.to_thread(declared, half):
            log.info("declared: %s", line)
    except InterlockError as error:
        log.warning("not declared: %s", error)
        return False
    return True


def declared(half: Half) -> tuple[str, ...]:
    """Declare this half once; what was changed."""
    loaded = load(half)
    with connected(loaded.prefect) as api:
        return declare(api, wanted(half, loaded.grounds))
