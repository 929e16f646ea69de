"""`interlock trace`: from what runs back to the source that it came from, and who let it pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import halves, names, output
from interlock.cli.output import Format, ReportOutput
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.cd.trace import Trace

EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. WHAT is a pod (NAMESPACE/NAME), an image's digest, a commit of a source or of
the environment repository, a signer, an application, or a date in UTC: then the answer is what ran when it was over.
Exit code 0: something is known of it; 1: nothing is.
\b
Examples:
  interlock trace shop/web-7d9c5b8f4-x2x9k
  interlock trace sha256:0a1b2c3d4e5f
  interlock trace 1a2b3c4 --environment production --html trace.html
  interlock trace ada --output json
  interlock trace 2026-01-31T12:00
"""


def trace(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="A pod, image, commit, person, application or date.")],
    *,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Only this environment.", callback=names.name)
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page too.", dir_okay=False)] = None,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Print the chain: source, tests, scans, gate, image, release, approvals, plan, sync, pods."""
    from interlock.cd.trace import parse
    from interlock.cli.terminal import run

    query = parse(what)
    with halves.needs("cd"):
        from interlock.cli.cd_trace import trace_order

    found = run(lambda telling: trace_order(telling, query, environment), form)
    if html:
        _write(found, html)
    if not found.syncs and not found.others:
        raise typer.Exit(1)


def _write(found: Trace, path: Path) -> None:
    from interlock.cli.page import page

    try:
        path.write_text(page("trace.html.j2", trace=found))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    output.note(f"page: {path}")
