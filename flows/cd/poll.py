"""Poll: starts a deploy for every environment that has not seen the branch's head, in case a webhook was lost."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd.host import CdHost
from tasks.cd.host import load_cd
from tasks.cd.record import read_mark
from tasks.common import git
from tasks.common.effect import effect
from tasks.common.start_run import start


@effect(name="look at the branch", retries=2)
def branch_head(host: CdHost) -> str:
    """The environment repository's newest commit, not verified."""
    remote = host.environment_repository
    return git.fetch(git.mirror_path(host.state, remote.name), remote)


async def poll_order(presenter: Presenter, host: CdHost) -> tuple[str, ...]:
    """Start what is behind; the environments that were started. One head starts one run, however often it is seen."""
    head = await presenter.step(branch_head, host)
    behind = [name for name in host.environments if _behind(host, name, head)]
    for name in behind:
        deployment = f"deploy/{host.environments[name].cluster}"
        parameters = {"environment": name, "revision": head}
        await presenter.step(start, deployment, parameters, f"deploy {name} {head}")
    return tuple(behind)


def _behind(host: CdHost, environment: str, head: str) -> bool:
    mark = read_mark(host.state, environment)
    return mark is None or mark.verified != head


@flow(name="poll-cd", flow_run_name="poll the environment repository")
async def poll_cd() -> State[Any]:
    """Look whether the environment repository has a commit that no deploy has seen."""
    order = poll_order(PrefectPresenter(), load_cd())
    return await ending(order, lambda names: f"started {', '.join(names)}" if names else "nothing new")
