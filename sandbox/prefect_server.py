"""Prefect's server on SQLite with one writer at a time: `python -m sandbox.prefect_server --port …`.

SQLite has one write lock. Prefect's transactions take it when they first write, and fail at once ("database is
locked", which clients see as 503) when another one has written since they began. Or they wait for it, in a thread
whose connection the garbage collector may ask for something meanwhile, in the event loop's thread: then everything
stands still for a minute. Here a transaction waits its turn in the event loop instead. Postgres needs none of this.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import zoneinfo
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from docket import Worker
from prefect.cli import app
from prefect.server.api import background_workers
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.types import _datetime as dates
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

BUSY_MILLISECONDS = 3000
"""How long a connection waits for the write lock. Prefect's own minute is how long everything stands still when the
lock's holder waits for the event loop; who gives up earlier is answered 503 and asks again."""

_begin = AioSqliteConfiguration.begin_transaction
_setup = AioSqliteConfiguration.setup_sqlite
_turns: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
_writing = ContextVar("writing", default=False)


@asynccontextmanager
async def _in_turn(
    database: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncIterator[AsyncSessionTransaction]:
    """As Prefect's own, but takes the write lock at the beginning, when nobody in this process has it."""
    if _writing.get():  # inside another transaction: waiting for one's own turn would never end
        async with _begin(database, session, with_for_update) as transaction:
            yield transaction
        return
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        mark = _writing.set(True)
        try:
            async with _begin(database, session, with_for_update=True) as transaction:
                yield transaction
        finally:
            _writing.reset(mark)


def _impatient(database: AioSqliteConfiguration, connection: Any, record: Any) -> None:
    """As Prefect's own set-up of a connection, but it gives up soon."""
    _setup(database, connection, record)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    cursor.close()


def _look_up_timezones_once() -> None:
    """Prefect reads the machine's list of time zones, hundreds of files, for every schedule that it shows."""
    setattr(dates, "available_timezones", functools.cache(zoneinfo.available_timezones))  # noqa: B010 - as below


def _look_for_due_work_less_often() -> None:
    """Prefect's services are due every few seconds, and it looks for them several times a second."""
    every = timedelta(seconds=1)
    calm = functools.partial(Worker, minimum_check_interval=every, scheduling_resolution=every)
    setattr(background_workers, "Worker", calm)  # noqa: B010 - as below


def _collect_garbage_less_often() -> None:
    """Each collection would walk through everything that was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def main() -> None:
    """`prefect server start` with these arguments, in this process."""
    _collect_garbage_less_often()
    _look_for_due_work_less_often()
    _look_up_timezones_once()
    setattr(AioSqliteConfiguration, "begin_transaction", _in_turn)  # noqa: B010 - mypy knows no other way
    setattr(AioSqliteConfiguration, "setup_sqlite", _impatient)  # noqa: B010 - as above
    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
