"""`interlock render`, `plan`, `sync`, `status`: what is desired, what would change, change it, how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from interlock.cli import names, output
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.cli.terminal import TerminalPresenter
    from interlock.contract.repository import Environment, Repository

T = TypeVar("T")

RENDER_EXAMPLES = """\b
Examples:
  interlock render dev                      # the files as they lie here, committed or not
  interlock render dev --commit HEAD~1 > before.yaml
  interlock render dev --repository ~/environments --output json
"""
PLAN_EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. Exit code 0: nothing differs; 1: something does.
\b
Examples:
  interlock plan dev                        # the newest verified commit against the cluster
  interlock plan dev --output json
"""
SYNC_EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. The same code and the same lock as the deploy flow.
\b
Examples:
  interlock sync dev
"""
STATUS_EXAMPLES = """\b
On a CD host: verified commits, the ledger, the cluster. With --repository, or elsewhere: what git says.
\b
Examples:
  interlock status                          # all environments
  interlock status dev --output json
  interlock status --repository ~/environments
"""

Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.", callback=names.name)]
Clone = Annotated[Path, typer.Option("--repository", help="A clone of the environment repository.", file_okay=False)]


def render(
    environment: Name,
    repository: Clone = Path(),
    *,
    commit: Annotated[str | None, typer.Option(help="A commit of the clone; otherwise the files as they are.")] = None,
    form: Output = Format.TABLE,
) -> None:
    """Print an environment's manifests as they would be applied, from a plain clone.

    Needs no host and no cluster. Signatures are not verified. Output is YAML, or JSON with --output json.
    """
    from interlock.contract import strict_yaml
    from tasks.common.render import render_environment

    read = _read_clone(repository, commit)
    _environment(read, environment)
    rendered = render_environment.fn(read, environment)
    output.note(f"rendered {environment} from {repository}, {commit or 'files as they are'}; signatures not verified")
    for each in rendered.awaiting:
        output.note(f"awaiting: {each} has components that were never released, and renders nothing yet")
    if form is Format.JSON:
        output.show_json([manifest.body for manifest in rendered.manifests])
        return
    for manifest in rendered.manifests:
        typer.echo(f"---\n{strict_yaml.dump(manifest.body)}", nl=False)


def plan(
    environment: Name,
    *,
    revision: Annotated[
        str | None, typer.Option(help="A verified commit, 40 hex digits; otherwise the newest.")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Show what a sync would change, and what changed in the cluster by hand. Writes nothing."""
    from interlock.cli.cd import plan_order

    differs = _run(lambda telling: plan_order(telling, environment, revision), form)
    raise typer.Exit(1 if differs else 0)


def sync(environment: Name, *, form: Output = Format.TABLE) -> None:
    """Make the cluster as the newest verified commit says, wait until it is healthy, record it."""
    from interlock.cli.cd import sync_order

    _run(lambda telling: sync_order(telling, environment), form)


def status(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", callback=names.name)] = None,
    *,
    repository: Annotated[Path | None, typer.Option(help="A clone of the environment repository.")] = None,
    form: Output = Format.TABLE,
) -> None:
    """Show which release each environment has, and how its last sync ended."""


def _run(order: Callable[[TerminalPresenter], Awaitable[T]], form: Format) -> T:
    """Run an order on this terminal."""
    from interlock.cli.terminal import presenter

    async def telling() -> T:
        with presenter(form) as made:
            result = await order(made)
        made.finish()
        return result

    return asyncio.run(telling())
