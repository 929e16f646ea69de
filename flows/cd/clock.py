"""Before anything is decided by the time, and before each receipt: whether this host's clock may be believed."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING

from interlock.cd.clock import require_sound
from interlock.errors import ClusterError
from tasks.common.clock import remember

if TYPE_CHECKING:
    from flows.cd.walk import Site
    from interlock.cd.receipts import Entry


async def require_clock(site: Site, *, last: Entry | None = None) -> None:
    """ClockWrong when it lies before the `last` receipt, or differs from the API server's, where one answers.

    A time that the API server confirms is remembered.
    """
    if site.cluster.clock is None:
        with suppress(ClusterError):
            await asyncio.to_thread(lambda: site.cluster.version)
    server = site.cluster.clock
    require_sound(dt.datetime.now(dt.UTC), receipt=last.time if last else None, server=server)
    if server:
        remember(site.host.state)
