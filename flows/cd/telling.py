"""How a wait for health is told while it goes on: when something changes, and not too often."""

from __future__ import annotations

import asyncio
import time

from flows.presenter import Presenter
from interlock.cd.progress import Progress

APART_SECONDS = 2.0
"""Between two updates."""
SIGN_OF_LIFE_SECONDS = 30.0
"""Between two updates while nothing changes, so that one sees how long it has lasted."""


class Telling:
    """Called from any thread with every look; `last` is the newest one."""

    def __init__(self, presenter: Presenter) -> None:
        self._presenter = presenter
        self._loop = asyncio.get_running_loop()
        self._told = ""
        self._at = float("-inf")
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        if not self._due(progress):
            return
        self._told, self._at = progress.note, time.monotonic()
        since = f" ({progress.elapsed:.0f} s)" if progress.elapsed >= 1 else ""
        told = self._presenter.progress("health", progress.percent, f"{progress.note}{since}")
        asyncio.run_coroutine_threadsafe(told, self._loop).result()

    def _due(self, progress: Progress) -> bool:
        ago = time.monotonic() - self._at
        if progress.note == self._told:
            return ago >= SIGN_OF_LIFE_SECONDS and not progress.done
        return ago >= APART_SECONDS or progress.settled
