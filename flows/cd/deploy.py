"""Deploy: an environment's cluster to the newest verified commit."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.cd.trace import trace_order
from flows.cd.walk import flow_run, opened, reconcile
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd.host import CdHost
from interlock.cd.reports import Outcome
from interlock.cd.reviewed import Reviewed
from interlock.cd.trace import parse, report
from interlock.errors import InterlockError
from tasks.cd.host import load_cd
from tasks.common import git


async def deploy_order(
    presenter: Presenter,
    host: CdHost,
    environment: str,
    revision: str | None = None,
    *,
    actor: str = "command line",
    reviewed: Reviewed | None = None,
    prove_all: bool = False,
) -> Outcome:
    """Verify, render, plan, apply in stages, wait until healthy, prune, record.

    `revision` is a hint: the branch's newest verified commit is deployed, and never one that is older than what is.
    With a `reviewed` plan just that is applied, or Blocked says what moved since. With `prove_all` every new object
    goes through a dry run first.
    Raises Refused, Blocked, LockHeld, Unhealthy, Superseded; what was done until then is in the ledger.
    """
    async with opened(presenter, host, environment, what="deploy", actor=actor, prove_all=prove_all) as site:
        result = await reconcile(site, reviewed=reviewed)
    if revision and not _has(host, revision, result.commit):
        presenter.say(f"the hint {revision[:12]} is not in the branch's history: {result.commit[:12]} is what it has")
    return result


def _has(host: CdHost, revision: str, commit: str) -> bool:
    remote = host.environment_repository
    return git.is_ancestor(git.mirror_path(host.state, remote.name), revision, commit)


@flow(name="deploy", flow_run_name="deploy {environment}")
async def deploy(environment: str, revision: str | None = None) -> State[Any]:
    """Bring an environment to the newest verified commit of the environment repository."""
    presenter, host = PrefectPresenter(), load_cd()
    order = deploy_order(presenter, host, environment, revision, actor=flow_run())
    return await ending(_traced(order, presenter, host), lambda outcome: outcome.sentence)


async def _traced(order: Awaitable[Outcome], presenter: Presenter, host: CdHost) -> Outcome:
    """With where what was deployed came from on the run's page. That it cannot be told fails no deploy."""
    outcome = await order
    if outcome.said == "deployed" and outcome.counts:
        try:
            found = await trace_order(presenter, host, parse(outcome.commit), (outcome.environment,))
        except InterlockError as error:
            presenter.say(f"where it came from cannot be told: {error.message}")
        else:
            await presenter.show(report(found))
    return outcome
