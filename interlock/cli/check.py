"""`interlock check`: what CI's gate would say about the code that lies here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.output import Format, Output

EXAMPLES = """\b
Examples:
  interlock check --environment-repository ~/environments
"""


def check(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The application repository.", file_okay=False)
    ] = Path(),
    *,
    form: Output = Format.TABLE,
) -> None:
    """Scan, build and test as CI would, and say what its gate would decide. Pushes and writes nothing."""
