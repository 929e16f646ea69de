"""`interlock why`: which gate keeps a change from being live."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli import halves, names
from interlock.cli.output import Format, ReportOutput

EXAMPLES = """\b
On a CD host every gate from the release on, with what evidence says of those before; on a CI host those up to the
release. Exit code 0: it is live everywhere; 1: something holds it, or it cannot be told from here.
\b
Examples:
  interlock why 1a2b3c4                  # a commit of a source, or of the environment repository
  interlock why shop                     # the application's newest change
  interlock why shop --environment production --output json
"""


def why(
    what: Annotated[str, typer.Argument(metavar="COMMIT|APPLICATION", help="The change that is looked for.")],
    *,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Only this environment.", callback=names.name)
    ] = None,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Say why a change is not live: one line per gate, the first that holds it, who can lift it, the next command."""
    from interlock.cli.terminal import run
    from tasks.common.host import half

    if half() == "ci":
        with halves.needs("ci"):
            from interlock.cli.ci_why import why_order
    else:
        with halves.needs("cd"):
            from interlock.cli.cd_why import why_order

    live = run(lambda telling: why_order(telling, what, environment), form)
    raise typer.Exit(0 if live else 1)
