"""Where words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated

import typer

from interlock.contract.report import Branch, Report, Table, cell, uncelled
from interlock.errors import InterlockError
from tasks.common.redaction import redacted

EXIT_CODES = """\b
Exit codes:
  0    done, or nothing to do
  1    differs, blocked or unhealthy
  2    usage, or a file of yours is wrong
  3    refused: a commit, a credential
  4    an outside part failed
  5    somebody else holds the environment's lock
  6    people have to approve it first
  70   a defect of Interlock; the message names a log file
  130  stopped with Ctrl-C
"""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    SARIF = "sarif"


_WRITERS = {
    Format.MARKDOWN: "only `plan`, `sync`, `status`, `ledger` and `trace` write markdown",
    Format.SARIF: "only `check` writes SARIF",
}


def _none_of(*others: Format) -> Callable[[Format], Format]:
    def check(form: Format) -> Format:
        if form in others:
            raise typer.BadParameter(_WRITERS[form])
        return form

    return check


_HELP = "How the result is written to stdout."
_NAMES = ("--output", "-o")
Output = Annotated[
    Format,
    typer.Option(*_NAMES, help=_HELP, metavar="[table|json]", callback=_none_of(Format.MARKDOWN, Format.SARIF)),
]
ReportOutput = Annotated[
    Format, typer.Option(*_NAMES, help=_HELP, metavar="[table|json|markdown]", callback=_none_of(Format.SARIF))
]
"""Of commands whose result is a report."""
FindingsOutput = Annotated[
    Format, typer.Option(*_NAMES, help=_HELP, metavar="[table|json|sarif]", callback=_none_of(Format.MARKDOWN))
]
"""Of `check`, which has findings."""


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
    """The report as the result: its title with its tree or tables, as Markdown, or its data as JSON."""
    if output is Format.JSON:
        show_json(report.data)
        return
    if output is Format.MARKDOWN:
        typer.echo(f"# {cell(plain(report.title))}\n\n{plain(report.body)}")
        return
    typer.echo(plain(report.title))
    if report.markdown:
        typer.echo(plain(uncelled(report.markdown)))
    if report.tree:
        typer.echo(_grown(report.tree) if sys.stdout.isatty() else indented(report.tree))
        return
    for table in report.tables:
        typer.echo(_drawn(table) if sys.stdout.isatty() else aligned(table))


def line() -> None:
    """Parts one report from the next."""
    typer.echo()


def show_json(value: object) -> None:
    typer.echo(redacted(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def aligned(table: Table) -> str:
    """The table as plain text: columns padded with spaces, one line a row. Of a single column the heading is a title,
    which may name an object: it stays as it is.
    """
    columns = table.columns if len(table.columns) == 1 else tuple(name.upper() for name in table.columns)
    lines = [columns, *(tuple(map(_line, row)) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


_UNBROKEN = 16
"""Characters of a cell that stay on one line."""


def _drawn(table: Table) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(table.columns):
        # A commit or a name that is cut in a narrow window is of no use.
        short = all(len(row[place]) <= _UNBROKEN and " " not in row[place] for row in table.rows)
        drawn.add_column(name, no_wrap=short, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_line(cell)) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip()


def indented(tree: Iterable[Branch], depth: int = 0) -> str:
    """A tree as plain text: two spaces a level, a line a branch, however long."""
    lines = (
        f"{'  ' * depth}{_line(each.text)}" + (f"\n{indented(each.below, depth + 1)}" if each.below else "")
        for each in tree
    )
    return "\n".join(lines)


_STYLES = {"good": "green", "change": "yellow", "bad": "red", "odd": "magenta", "quiet": "dim"}


def _grown(tree: Iterable[Branch]) -> str:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def label(branch: Branch) -> Text:
        return Text(_line(branch.text), style=_STYLES.get(branch.tone, ""))

    def grow(under: Tree, branches: Iterable[Branch]) -> None:
        for each in branches:
            grow(under.add(label(each)), each.below)

    console = Console()
    with console.capture() as captured:
        for root in tree:
            drawn = Tree(label(root), guide_style="dim")
            grow(drawn, root.below)
            console.print(drawn)
    return captured.get().rstrip()


def plain(text: str) -> str:
    """Text from anywhere, without secrets, nor control characters that a terminal would obey; its lines stay lines."""
    return "\n".join(map(_line, redacted(text).split("\n")))


def _line(text: str) -> str:
    """The same on one line."""
    return "".join(c if c.isprintable() else " " for c in text)
