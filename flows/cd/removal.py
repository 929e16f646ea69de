"""The last part of a sync: what Git dropped goes, and with a tombstone the environment itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.cd.advance import Advance
from interlock.cd.plan import Action
from interlock.contract.report import counted
from interlock.errors import Blocked
from tasks.cd import apply, inspect, record
from tasks.cd.lease import Lock
from tasks.cd.record import Stored

if TYPE_CHECKING:
    from flows.cd.walk import Decision, Site

PRUNE_SECONDS = 20.0
"""How long a sync waits for what it deleted; what takes longer stays in the inventory."""


async def pruned(site: Site, decision: Decision, stored: Stored, lock: Lock, advance: Advance) -> Stored:
    """Only after health, and only what the plan named; what does not go at once stays in the inventory."""
    items = [item for item in decision.plan.having(Action.PRUNE) if advance.may_prune(item.application)]
    removed = decision.environment.removed
    with site.timed("prune"):
        if items:
            assert stored.record is not None  # noqa: S101 - written before
            gone = await site.presenter.step(
                apply.prune,
                site.cluster,
                items,
                lock,
                scope=decision.scope,
                seconds=decision.environment.health_seconds if removed else PRUNE_SECONDS,
                thorough=removed,
            )
            inventory = stored.inventory.remembering(gone, decision.environment.applications)
            stored = await site.presenter.step(record.write_inventory, site.cluster, stored, inventory, stored.record)
        await site.presenter.step(record.narrow_parent, site.cluster, stored)
    return stored


async def require_gone(site: Site, decision: Decision, stored: Stored) -> None:
    """With a tombstone: Blocked while the environment owns anything, with what holds up each object."""
    if not decision.environment.removed or not stored.inventory.entries:
        return
    what = "of the removed environment"
    left = counted(len(stored.inventory.entries), f"object {what} is", f"objects {what} are")
    reasons = await site.presenter.step(inspect.remaining, site.cluster, stored.inventory, decision.scope)
    raise Blocked(
        f"{site.name}: {left} still there",
        reasons=reasons,
        hint=f"the next run goes on; `interlock plan {site.name}` gives the line that confirms what is kept",
    )
