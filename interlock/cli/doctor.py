"""`interlock doctor`: what this host lacks, and what to do about it."""

from __future__ import annotations

import typer

from interlock.cli import halves, output
from interlock.cli.output import Format, Output

EXAMPLES = """\b
On a CI or CD host, with INTERLOCK_CONFIG, as the worker's user. It changes nothing but this host's mirrors.
Exit code 0: all is well; 1: something is not.
\b
Examples:
  INTERLOCK_CONFIG=/etc/interlock/cd.yaml interlock doctor
  interlock doctor --output json
"""


def doctor(*, form: Output = Format.TABLE) -> None:
    """Check this host: its file, keys, accounts, clock, Prefect, git, registry, ledger and clusters; say each fix."""
    from interlock.contract.doctor import Check, report
    from interlock.errors import HostConfigError
    from tasks.common.host import half

    which = half()
    with halves.needs(which):
        if which == "ci":
            from tasks.ci.doctor import checks
        else:
            from tasks.cd.doctor import checks
    try:
        found = list(checks())
    except HostConfigError as error:
        found = [Check("host file", False, error.message.splitlines()[0], error.hint)]
    output.show(report(f"{which.upper()} host", found), form)
    raise typer.Exit(0 if all(each.well for each in found) else 1)
