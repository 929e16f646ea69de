"""Plan: what a deploy would do. The cluster is only read; the ledger hears of a plan that differs."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.cd.receipts import tell_planned
from flows.cd.walk import Decision, Site, decide, flow_run, introduce, not_overtaken, opened, show_lacking
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd import plan_report
from interlock.cd.host import CdHost
from interlock.cd.plan import Plan
from interlock.cd.plan_report import MOST_OBJECTS
from tasks.cd.host import load_cd


async def plan_order(
    presenter: Presenter,
    host: CdHost,
    environment: str,
    revision: str | None = None,
    *,
    actor: str = "command line",
    prove_all: bool = False,
    everything: bool = False,
) -> Plan:
    """The plan of the newest verified commit, shown and given. `plan.empty` says that a deploy would write nothing.

    With `prove_all` every new object goes through a dry run, not only those that could surprise; with `everything`
    no object is only counted.
    """
    async with opened(presenter, host, environment, what="plan", actor=actor, prove_all=prove_all) as site:
        decision = await not_overtaken(site, partial(_planned, site, most=None if everything else MOST_OBJECTS))
    if revision and revision != decision.commit:
        presenter.say(f"planned {decision.commit[:12]}, the newest verified commit, not {revision[:12]}")
    return decision.plan


async def _planned(site: Site, *, most: int | None) -> Decision:
    decision = await decide(site)
    await introduce(site, decision)
    await site.presenter.show(plan_report.report(decision.plan, most=most))
    await show_lacking(site, decision.lacking)
    await tell_planned(site, decision)
    return decision


@flow(name="plan", flow_run_name="plan {environment}")
async def plan(environment: str, revision: str | None = None) -> State[Any]:
    """Show what a deploy of an environment would change, and change nothing."""
    order = plan_order(PrefectPresenter(), load_cd(), environment, revision, actor=flow_run())
    return await ending(order, lambda plan: f"{plan.environment} at {plan.commit[:12]}: {plan_report.summary(plan)}")
