"""How hard a server is asked: requests in flight by what it bears (AIMD, RFC 5681), pauses that it asked for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from types import TracebackType

LEAST_PAUSE = 0.1
MOST_PAUSE = 4.0
"""Seconds between two tries of one request, when the server names none."""
LONGEST_RETRY_AFTER = 60.0


class Throttle:
    """A slot per request in flight: `with throttle as started: ...`.

    An answer that asks for less halves the slots, at most once for all that were in flight together, and nobody sends
    anything until the time that it named is over. Each answer that does not ask so gives a part of a slot back.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._slots = float(most)
        self._active = 0
        self._resume = 0.0
        self._halved = 0.0
        self._changed = threading.Condition()

    @property
    def slots(self) -> int:
        """How many requests may be in flight now."""
        return int(self._slots)

    def __enter__(self) -> float:
        with self._changed:
            while (wait := self._resume - time.monotonic()) > 0 or self._active >= int(self._slots):
                self._changed.wait(wait if wait > 0 else None)
            self._active += 1
        return time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._active -= 1
            self._changed.notify()

    def bore(self) -> None:
        """An answer came that did not ask for less."""
        if self._slots < self.most:
            with self._changed:
                self._slots = min(self.most, self._slots + 1 / self._slots)
                self._changed.notify()

    def slow_down(self, started: float, retry_after: float) -> None:
        """The request that `started` then was answered with 429: wait so many seconds, and ask less at once."""
        now = time.monotonic()
        with self._changed:
            if started >= self._halved:
                self._slots, self._halved = max(1.0, self._slots / 2), now
            # Not all at the same moment again: whoever else was sent away waits as long.
            self._resume = max(self._resume, now + retry_after * random.uniform(1, 1.2))  # noqa: S311 - jitter

    def drained(self, seconds: float) -> bool:
        """Wait until no request is in flight."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, seconds)


def pauses(patience: float) -> Iterator[float]:
    """Seconds to wait before each further try: doubling, with jitter; ends when `patience` seconds are over."""
    deadline, longest = time.monotonic() + patience, LEAST_PAUSE
    while time.monotonic() + longest < deadline:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - jitter
        longest = min(MOST_PAUSE, longest * 2)


def retry_after(header: str | None) -> float:
    """The header's seconds (RFC 9110 §10.2.3; API servers send no dates), bounded; 1 when it says nothing useful."""
    try:
        return min(LONGEST_RETRY_AFTER, max(LEAST_PAUSE, float(header or 1)))
    except ValueError:
        return 1.0
