"""How the demo speaks: headings, what was expected beside what was seen, and the closing table."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import dedent
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sandbox.part import SandboxError
from sandbox.runs import Run, Step

SHORT = 90
"""Characters of a cell in the closing table; the whole text stands further up."""


@dataclass(frozen=True)
class Check:
    """One thing that had to be so."""

    expected: str
    seen: str
    holds: bool


@dataclass
class Act:
    """One numbered step of the demo."""

    number: int
    title: str
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)


def _console() -> Console:
    """As wide as the terminal; in a log, wide enough for the closing table."""
    return Console(highlight=False, width=None if Console().is_terminal else 140)


@dataclass
class Stage:
    """Where the acts are told. stdout carries all of it."""

    console: Console = field(default_factory=_console)
    acts: list[Act] = field(default_factory=list)

    @contextmanager
    def act(self, number: int, title: str) -> Iterator[Act]:
        """One step. What a part refuses becomes a failed check, and the next step is still tried."""
        act = Act(number, title)
        self.acts.append(act)
        self.console.print()
        self.console.rule(f"[bold]{number}. {escape(title)}", align="left")
        began = time.monotonic()
        try:
            yield act
        except SandboxError as error:
            self.check(act, "no failure on the way", str(error), holds=False)
        finally:
            act.seconds = time.monotonic() - began

    def say(self, message: str) -> None:
        self.console.print(Text(message), soft_wrap=True)

    def quote(self, text: str) -> None:
        """What a program said, indented."""
        for line in dedent(text).strip().splitlines():
            self.console.print(Text(f"    {line}", "dim"), soft_wrap=True)

    def check(self, act: Act, expected: str, seen: str, *, holds: bool) -> None:
        act.checks.append(Check(expected, seen, holds))
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        self.console.print(Text.assemble((f"  {mark} ", style), f"{expected}: ", (seen, "bold")), soft_wrap=True)

    def run(self, run: Run) -> None:
        self.console.print(Text.assemble(("  ▶ ", "cyan"), (run.name, "bold")))

    def step(self, step: Step) -> None:
        mark, style = ("✓", "green") if step.kind == "COMPLETED" else ("✗", "red")
        self.console.print(
            Text.assemble((f"      {mark} ", style), f"{step.name:<44}", (f"{step.seconds:6.1f} s", "dim"))
        )

    def ended(self, run: Run) -> None:
        style = "green" if run.kind == "COMPLETED" else "yellow"
        message, _, more = run.message.partition("\n")
        self.console.print(
            Text.assemble(("  ■ ", style), (f"{run.state}", style), f" in {run.seconds:.1f} s  {message}"),
            soft_wrap=True,
        )
        self.quote(more)

    def table(self) -> None:
        """Each step, what was expected, what was seen, seconds."""
        table = Table(title="What was shown", title_justify="left", expand=False)
        for column, widest in (("step", 28), ("expected", 32), ("seen", None)):
            table.add_column(column, overflow="fold", max_width=widest)
        table.add_column("seconds", justify="right")
        for act in self.acts:
            table.add_section()
            for index, check in enumerate(act.checks):
                self._row(table, act, check, first=index == 0)
        self.console.print()
        self.console.print(table)

    def _row(self, table: Table, act: Act, check: Check, *, first: bool) -> None:
        title = f"{act.number}. {act.title}" if first else ""
        line = check.seen.splitlines()[0]
        short = line if len(line) <= SHORT or not check.holds else line[: SHORT - 1] + "…"
        seen = Text(("✓ " if check.holds else "✗ ") + short, "green" if check.holds else "red")
        table.add_row(title, check.expected, seen, f"{act.seconds:.0f}" if first else "")

    @property
    def holds(self) -> bool:
        return all(act.holds for act in self.acts)


def run(main: Callable[[], int]) -> NoReturn:
    """A demo as a program: one line for what a part refuses, and an end by signal that leaves nothing running."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        sys.exit(main())
    except SandboxError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("demo: ended by Ctrl-C; nothing is left running", file=sys.stderr)
        sys.exit(130)
