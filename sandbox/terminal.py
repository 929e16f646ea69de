"""Shows what the parts say: a live line for each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_ENDS = ("answers", "stopped", "failed", "ready")


@dataclass
class _Line:
    message: str
    began: float
    ended: float | None = None

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began


@dataclass
class Terminal:
    """A `Report`. Messages that begin with answers, stopped, failed or ready end a part's line."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    _lines: dict[str, _Line] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _live: bool = False

    def __call__(self, part: str, message: str) -> None:
        with self._lock:
            line = self._lines.get(part)
            if line is None or line.ended is not None:
                line = self._lines[part] = _Line(message, time.monotonic())
            line.message = message
            if message.startswith(_ENDS):
                line.ended = time.monotonic()
        if not self._live:
            self.console.print(Text(f"{part}: {message}"), soft_wrap=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While inside, one line per part that spins and counts seconds; without a terminal, a line per message."""
        if not self.console.is_terminal:
            yield
            return
        self._lines.clear()
        self._live = True
        try:
            with Live(get_renderable=self._table, console=self.console, refresh_per_second=8):
                yield
        finally:
            self._live = False

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for part, line in self._lines.items():
                failed = line.message.startswith("failed")
                done = Text("✗", "red") if failed else Text("✓", "green")
                table.add_row(
                    done if line.ended else Spinner("dots"),
                    Text(part, "bold"),
                    Text(f"{line.seconds:.0f} s", "dim", justify="right"),
                    Text(line.message),
                )
        return table
