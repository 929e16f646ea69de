"""How a step is stopped that works in a thread: it says what would end it, and whoever waits for it asks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context

Way = Callable[[], object]


class Stop:
    """One step's. Asked once, it holds for all that the step still begins."""

    def __init__(self) -> None:
        self.asked = False
        self._lock = threading.Lock()
        self._ways: list[Way] = []

    def ask(self) -> None:
        """End what is under way; from any thread."""
        with self._lock:
            self.asked = True
            ways = tuple(self._ways)
        for way in ways:
            _take(way)

    @contextlib.contextmanager
    def by(self, way: Way) -> Iterator[None]:
        with self._lock:
            self._ways.append(way)
        if self.asked:
            _take(way)
        try:
            yield
        finally:
            with self._lock:
                self._ways.remove(way)


_STOP: ContextVar[Stop | None] = ContextVar("stop", default=None)


def stoppable() -> tuple[Stop, Context]:
    """A step's stop, and the context to run it in."""
    stop, context = Stop(), copy_context()
    context.run(_STOP.set, stop)
    return stop, context


@contextlib.contextmanager
def stopped_by(way: Way) -> Iterator[None]:
    """While the block runs, a cancelled step calls `way`, from another thread."""
    stop = _STOP.get()
    with contextlib.nullcontext() if stop is None else stop.by(way):
        yield


def is_stopped() -> bool:
    """Whether nobody wants this step's result any more: then nothing is tried again."""
    stop = _STOP.get()
    return stop is not None and stop.asked


def _take(way: Way) -> None:
    """What has ended meanwhile needs no end."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        way()
