"""The command line's way to a trace on a CD host: loaded only by the command that needs one."""

from __future__ import annotations

from flows.cd import trace
from interlock.cd import trace as form
from interlock.cd.trace import Query, Trace
from interlock.cli.cd import registered
from interlock.cli.terminal import TerminalPresenter


async def trace_order(presenter: TerminalPresenter, query: Query, environment: str | None) -> Trace:
    """Shown, and given for a page."""
    host, names = registered(environment)
    found = await trace.trace_order(presenter, host, query, names)
    await presenter.show(form.report(found))
    return found
