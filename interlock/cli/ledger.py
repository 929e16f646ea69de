"""`interlock ledger`: whether CD's receipts are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import halves
from interlock.cli.output import Format, ReportOutput
from interlock.errors import InputError, Refused

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What CD says that it did, and whether it is whole."
)
EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. Exit code 0: the ledger is whole; 3: it is not; 4: it cannot be read.
\b
Examples:
  interlock ledger verify
  interlock ledger verify --output json
  interlock ledger verify --key old-cd.pub      # CD's key was another one before
"""


@app.callback()
def ledger() -> None:
    """What CD says that it did, and whether it is whole."""


@app.command("verify", epilog=EXAMPLES)
def verify(
    *,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="A further public key of CD's; may be repeated.", dir_okay=False)
    ] = None,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Find every change, gap, reorder, fork or cut of the ledger, and say where it is.

    Its ends are held against this host's marks and, where the cluster answers, against the records in it.
    """
    from interlock.cli.terminal import run

    with halves.needs("cd"):
        from interlock.cli.cd_ledger import verify_order

    keys = tuple(_public_key(path) for path in key or ())
    problems = run(lambda telling: verify_order(telling, keys), form)
    if problems:
        raise Refused(
            f"the ledger is not whole: {problems[0]}",
            rule="ledger",
            hint="docs/ledger.md says what each problem means and how to go on; CD freezes until then",
        )


def _public_key(path: Path) -> str:
    from interlock.contract import signature

    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}", hint="--key is the public key of a CD host") from None
    signature.key_blob(text)
    return text
