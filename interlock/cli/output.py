"""Where words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from interlock.contract.report import Report, Table, uncelled
from interlock.errors import InterlockError

EXIT_CODES = """\b
Exit codes:
  0    done, or nothing to do
  1    differs, blocked or unhealthy
  2    usage, or a file of yours is wrong
  3    refused: a commit, a credential
  4    an outside part failed
  5    somebody else holds the environment's lock
  70   a defect of Interlock; the message names a log file
  130  stopped with Ctrl-C
"""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How the result is written to stdout.")]


def note(message: str) -> None:
    """A line about what is going on."""
    typer.echo(plain(message), err=True)


def fail(error: InterlockError) -> None:
    """One red line, further lines of the message as they are, and the hint on its own line."""
    first, *rest = error.message.splitlines() or [type(error).__name__]
    if error.exit_code:
        typer.secho(plain(f"error: {first}"), fg=typer.colors.RED, err=True)
    else:
        note(first)
    for line in rest:
        note(line)
    for line in error.hint.splitlines():
        note(f"  hint: {line}")


def show(report: Report, output: Format) -> None:
    """The report as the result: its title and tables, or its data as JSON."""
    if output is Format.JSON:
        show_json(report.data)
        return
    typer.echo(plain(report.title))
    if report.markdown:
        typer.echo(plain(uncelled(report.markdown)))
    for table in report.tables:
        typer.echo(_drawn(table) if sys.stdout.isatty() else aligned(table))


def line() -> None:
    """Parts one report from the next."""
    typer.echo()


def show_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def aligned(table: Table) -> str:
    """The table as plain text: columns padded with spaces, one line a row."""
    lines = [tuple(name.upper() for name in table.columns), *(tuple(map(_line, row)) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _drawn(table: Table) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(*table.columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in table.rows:
        drawn.add_row(*(Text(_line(cell)) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip()


def plain(text: str) -> str:
    """Text from anywhere, without control characters that a terminal would obey; its lines stay lines."""
    return "\n".join(map(_line, text.split("\n")))


def _line(text: str) -> str:
    """The same on one line."""
    return "".join(c if c.isprintable() else " " for c in text)
