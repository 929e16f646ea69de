"""Before an environment is changed: whom it waits for, asked of the commits, and of a forge where one is believed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from interlock.cd.agreement import awaits, report
from interlock.contract.approvals import Question
from interlock.contract.repository import Environment
from tasks.cd import approvals
from tasks.common.environment_repository import VerifiedHead

if TYPE_CHECKING:
    from flows.cd.walk import Site

__all__ = ["asked", "awaits"]


async def asked(site: Site, head: VerifiedHead, environment: Environment, *, deployed: str | None) -> Question | None:
    """What people have to agree to, shown; None when the environment waits for nobody, or nothing of it changes."""
    remote, state = site.host.environment_repository, site.host.state
    if not await asyncio.to_thread(approvals.asks, remote, head, site.name, state=state, deployed=deployed):
        return None
    found = await site.presenter.step(approvals.weigh, remote, head, environment, state=state, deployed=deployed)
    if found:
        await site.presenter.show(report(found))
    return found
