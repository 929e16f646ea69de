"""Resync: the same as a deploy, from a schedule. What no commit explains is undone or reported."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.cd.walk import flow_run, opened, reconcile
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd.host import CdHost
from interlock.cd.reports import Outcome
from tasks.cd.host import load_cd


async def resync_order(presenter: Presenter, host: CdHost, environment: str, *, actor: str = "command line") -> Outcome:
    """Compare, and undo or report. Without a difference nothing is written and no lock is taken.

    When the branch's head is refused, the verified head is kept up all the same, and the refusal raised at the end.
    """
    async with opened(presenter, host, environment, what="resync", actor=actor) as site:
        return await reconcile(site, upkeep=True)


@flow(name="resync", flow_run_name="resync {environment}")
async def resync(environment: str) -> State[Any]:
    """Compare an environment's cluster with the deployed commit, and undo or report what no commit explains."""
    order = resync_order(PrefectPresenter(), load_cd(), environment, actor=flow_run())
    return await ending(order, lambda outcome: outcome.sentence)
