"""The command line's way to `why` on a CD host: loaded only by the command that needs one."""

from __future__ import annotations

from flows.cd import why
from interlock.cd.why import report
from interlock.cli.cd import registered
from interlock.cli.terminal import TerminalPresenter


async def why_order(presenter: TerminalPresenter, what: str, environment: str | None) -> bool:
    """Shown for each environment; whether the change is live in all of them."""
    host, names = registered(environment)
    found = await why.why_order(presenter, host, what, names)
    for each in found:
        await presenter.show(report(each))
    return all(each.live for each in found)
