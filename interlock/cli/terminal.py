"""An order's presenter on a terminal: a progress line per step on stderr, plain lines where nobody watches."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from interlock.cli import output
from interlock.cli.output import Format
from interlock.contract.report import Report
from interlock.errors import ToolError

if TYPE_CHECKING:
    from tasks.common.effect import Effect

P = ParamSpec("P")
R = TypeVar("R")

_SLOW_SECONDS = 2.0
_GRACE_SECONDS = 5.0


class TerminalPresenter:
    """Reports go to stdout as they come, or are kept for one JSON document at the end."""

    def __init__(self, form: Format, progress: Progress | None) -> None:
        self.reports: list[Report] = []
        self.done: list[str] = []
        self._form = form
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        began = time.monotonic()
        title = effect.title(*args, **kwargs)
        with self._line(title):
            result = await self._attempt(title, effect, *args, **kwargs)
        self.done.append(effect.name)
        seconds = time.monotonic() - began
        if self._progress or seconds >= _SLOW_SECONDS:
            self.say(f"{title}: done in {seconds:.1f} s")
        return result

    async def _attempt(self, title: str, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As Prefect runs it: only what may help is tried again."""
        tell = partial(_still, None if self._progress else self.say, title)
        for _ in range(effect.retries):
            try:
                return await _in_thread(tell, effect.fn, *args, **kwargs)
            except ToolError as error:
                if not error.transient:
                    raise
                self.say(f"{title}: {error.message}; trying again")
            await asyncio.sleep(2)
        return await _in_thread(tell, effect.fn, *args, **kwargs)

    async def show(self, report: Report) -> None:
        self.reports.append(report)
        if self._form not in (Format.JSON, Format.SARIF):
            output.show(report, self._form)
            output.line()

    async def progress(self, key: str, done: float, note: str) -> None:
        if self._progress is None:
            self.say(f"{note} ({done:.0f} %)")
            return
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(escape(output.plain(note)), total=100)
        self._progress.update(
            self._bars[key], completed=done, description=escape(output.plain(note)), visible=done < 100
        )

    async def name(self, name: str) -> None:
        """A terminal shows one run: it needs no name."""

    async def tag(self, *tags: str) -> None:
        """A terminal has no place for them."""

    async def link(self, key: str, url: str, text: str) -> None:
        self.say(f"{text}: {url}")

    def say(self, message: str) -> None:
        if self._progress:
            self._progress.console.print(output.plain(message), markup=False, highlight=False)
        else:
            output.note(message)

    def finish(self) -> None:
        """In JSON, the one document: all reports in the order in which they came."""
        if self._form is Format.JSON:
            output.show_json([{"report": each.key, "title": each.title, "data": each.data} for each in self.reports])

    @contextmanager
    def _line(self, name: str) -> Iterator[None]:
        if self._progress is None:
            self.say(name)
            yield
            return
        line = self._progress.add_task(escape(output.plain(name)), total=None)
        try:
            yield
        finally:
            self._progress.remove_task(line)


async def _still(say: Callable[[str], None] | None, what: str, running: asyncio.Future[R]) -> R:
    """The outcome; a line on the screen counts the seconds by itself."""
    from flows.waited import waited

    return await (waited(running, say, what) if say else asyncio.shield(running))


async def _in_thread(
    tell: Callable[[asyncio.Future[R]], Awaitable[R]], function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run it beside the event loop. When stopped, it gets a few seconds to end, and cannot hold up the exit."""
    from tasks.common.stopping import stoppable

    loop, (stop, context) = asyncio.get_running_loop(), stoppable()
    future: asyncio.Future[R] = loop.create_future()

    def deliver(set_outcome: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else set_outcome())

    def work() -> None:
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as error:
            deliver(partial(future.set_exception, error))
        else:
            deliver(partial(future.set_result, result))

    threading.Thread(target=work, daemon=True).start()
    try:
        return await tell(future)
    except asyncio.CancelledError:
        stop.ask()
        future.add_done_callback(lambda stopped: stopped.cancelled() or stopped.exception())
        await asyncio.wait({future}, timeout=_GRACE_SECONDS)
        raise


def run(order: Callable[[TerminalPresenter], Awaitable[R]], form: Format) -> R:
    """Run an order on this terminal. What it showed is there also when it fails."""

    async def telling() -> R:
        with presenter(form) as made:
            try:
                return await order(made)
            finally:
                made.finish()

    return asyncio.run(telling())


@contextmanager
def presenter(form: Format) -> Iterator[TerminalPresenter]:
    """A presenter for one order. Ctrl-C says what was done before it is passed on."""
    if not sys.stderr.isatty():
        with _told(TerminalPresenter(form, None)) as telling:
            yield telling
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    # What is printed to a redirected stdout must stay there.
    bars = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    with bars, _told(TerminalPresenter(form, bars)) as telling:
        yield telling


@contextmanager
def _told(telling: TerminalPresenter) -> Iterator[TerminalPresenter]:
    try:
        yield telling
    except (KeyboardInterrupt, asyncio.CancelledError):
        telling.say(f"stopped; done until then: {', '.join(telling.done) or 'nothing'}")
        raise
