"""Under which heading `interlock --help` shows each command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

HEADINGS = {
    "Start": ("init", "key", "bind", "version"),
    "Develop": ("check", "render", "test", "schema"),
    "Deliver": ("release", "plan", "approvals", "approve", "sync", "take-over"),
    "Find out": ("status", "why", "trace", "ledger"),
    "Trust": ("trust", "attester", "secrets", "protect", "deny"),
    "Run the hosts": (
        *("bootstrap", "access", "register", "doctor", "declare"),
        *("worker", "signer", "receive", "alive"),
    ),
}


class Headed(TyperGroup):
    """A group whose help shows its commands under HEADINGS, all in one column."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        column = max(map(len, self.commands))
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(column), self._short(name, formatter, column)) for name in names])

    def _short(self, name: str, formatter: HelpFormatter, column: int) -> str:
        return self.commands[name].get_short_help_str(formatter.width - column - 6)
