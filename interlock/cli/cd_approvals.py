"""What waits on a CD host: the same question that a deploy asks, of the same verified commits."""

from __future__ import annotations

from interlock.cd import agreement
from interlock.cli.cd import registered
from interlock.cli.terminal import TerminalPresenter
from interlock.contract.approvals import Question
from interlock.errors import HostConfigError
from tasks.cd import approvals, record
from tasks.common.environment_repository import fetch_verified


async def approvals_order(presenter: TerminalPresenter, environment: str | None) -> list[Question]:
    """Shown, of every environment of this host that asks for approvals, or of one."""
    host, chosen = registered(environment)
    if not chosen:
        raise HostConfigError("this host has no environments", hint="`interlock register environment` adds one")
    found: list[Question] = []
    for name in chosen:
        mark = record.read_mark(host.state, name)
        since, deployed = (mark.verified, mark.deployed) if mark else (None, None)
        remote = host.environment_repository
        head = await presenter.step(fetch_verified, remote, state=host.state, since=since)
        if name not in head.repository.environments:
            continue
        if approvals.asks(remote, head, name, state=host.state, deployed=deployed):
            of = head.repository.environments[name]
            asked = await presenter.step(approvals.weigh, remote, head, of, state=host.state, deployed=deployed)
            if asked:
                await presenter.show(agreement.report(asked))
                found.append(asked)
    return found
