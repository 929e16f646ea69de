"""A long step says from time to time that it is still at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")
FIRST_SECONDS = 20.0
"""After that it is said for the first time, and then each time that twice as long has passed."""


async def waited(running: asyncio.Future[R], say: Callable[[str], None], what: str) -> R:
    """What comes of it. When this is cancelled, what runs is not: that is for whoever started it."""
    began, pause = time.monotonic(), FIRST_SECONDS
    while not (await asyncio.wait({running}, timeout=pause))[0]:
        passed = time.monotonic() - began
        say(f"{what}: {passed:.0f} s so far")
        pause = passed
    return running.result()
