"""Taking over: what would become of objects that somebody else made, if a commit named them. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flows.cd.walk import decide, introduce, opened, permitted, show_lacking
from flows.presenter import Presenter
from interlock.cd import plan_report, reports
from interlock.cd.host import CdHost
from interlock.cd.plan import Plan, reasons
from interlock.cd.take_over import chosen, proposals
from interlock.contract.models import TakeOver
from interlock.contract.report import counted
from interlock.errors import Blocked
from tasks.cd import inspect


@dataclass(frozen=True)
class Proposal:
    """What a commit has to say, and what it would change."""

    entries: tuple[TakeOver, ...]
    plan: Plan


async def take_over_order(
    presenter: Presenter,
    host: CdHost,
    environment: str,
    objects: Sequence[str] = (),
    managers: Sequence[str] = (),
    *,
    actor: str = "command line",
) -> Proposal:
    """The plan of taking over these objects, or all that stand in the way, shown and given. Writes nothing.

    Blocked, after the plan was shown, when one cannot be made as Git says.
    """
    async with opened(presenter, host, environment, what="take-over", actor=actor) as site:
        decision = await decide(site)
        await introduce(site, decision)
        found = chosen(decision.plan.items, objects)
        entries = proposals(found, managers)
        scope = replace(decision.scope, take_over=(*entries, *decision.scope.take_over))
        step = presenter.step
        plan = await step(inspect.make_plan, site.cluster, decision.rendered, decision.stored.inventory, scope)
        wanted = {item.identity for item in found}
        plan = replace(plan, items=tuple(item for item in plan.items if item.identity in wanted))
        plan, lacking = await permitted(site, plan)
        await presenter.show(plan_report.report(plan))
        await show_lacking(site, lacking)
        await presenter.show(reports.take_over_report(plan, entries))
    if plan.stops:
        raise Blocked(
            f"{environment}: {counted(len(plan.stops), 'object')} cannot be taken over as Git has them",
            reasons=reasons(plan.stops),
            hint="change them in Git, or name the others: interlock take-over ENV OBJECT...",
        )
    return Proposal(entries, plan)
