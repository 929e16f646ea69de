"""Poll: starts a release for every repository whose newest commit none has dealt with, in case a webhook was lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ci.fresh import keep_fresh
from flows.ci.propose import keep_up
from flows.ci.stated import say_again
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.ci.decided import Standing
from interlock.ci.host import CiHost
from interlock.errors import GitError, InterlockError, Refused
from tasks.ci.decided import read_decided, standing_at
from tasks.ci.host import load_ci
from tasks.ci.source import resolve_head
from tasks.ci.workspace import turn
from tasks.common import git
from tasks.common.effect import effect
from tasks.common.start_run import start

DEPLOYMENT = "release/ci"
_AGAIN_SECONDS = 600
"""A commit whose release failed for a tool's sake is tried again this often."""
_SEEN = "seen"


async def poll_order(presenter: Presenter, host: CiHost) -> tuple[str, ...]:
    """Start what is behind; the repositories that were started.

    A commit counts only when the poll before saw it too, so that the run that its webhook starts comes first.
    """
    started: list[str] = []
    failures: list[InterlockError] = []
    try:
        now = await presenter.step(look_at_environments, host)
    except (GitError, Refused) as error:
        now = None  # no release could be made; what nobody has looked at is started all the same, and says so
        failures.append(error)
    for repository in host.repositories:
        try:
            head = (await presenter.step(resolve_head, host, repository, None)).commit
        except (GitError, Refused) as error:
            failures.append(error)  # the other repositories do not wait for this one's server
            continue
        if await presenter.step(is_left, host, repository, head, now):
            about = now.policy if now else "unknown"
            key = f"release {repository} {head} {about} {int(time.time()) // _AGAIN_SECONDS}"
            await presenter.step(start, DEPLOYMENT, {"repository": repository, "commit": head}, key)
            started.append(repository)
    for upkeep in (keep_up, keep_fresh) if now else ():
        try:
            await upkeep(presenter, host)
        except InterlockError as error:
            failures.append(error)
    await say_again(presenter, host)
    if failures:
        raise failures[0]
    return tuple(started)


@effect(name="compare with what was decided", task_run_name="compare {repository}")
def is_left(host: CiHost, repository: str, head: str, now: Standing | None) -> bool:
    """Whether nobody has dealt with this head as things stand `now` (None: unknown), and nobody is at it."""
    with turn(host.state, repository) as ours:
        if not ours or not _seen_before(host.state, repository, head):
            return False
    decided = read_decided(host.state, repository)
    if decided is None or decided.commit != head:
        return True
    return now is not None and not decided.holds(now)


@effect(name="look at the environment repository", retries=2)
def look_at_environments(host: CiHost) -> Standing:
    """What people wrote in the environment repository; whether they might is for the release to find out."""
    remote = host.environment_repository
    mirror = git.mirror_path(host.state, remote.name)
    return standing_at(mirror, git.fetch(mirror, remote))


def _seen_before(state: Path, repository: str, head: str) -> bool:
    path = state / _SEEN / repository.replace("/", "%2F")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(head)
    return before == head


@flow(name="poll-ci", flow_run_name="poll the application repositories")
async def poll_ci() -> State[Any]:
    """Look whether an application repository has a commit that no release has dealt with."""
    order = poll_order(PrefectPresenter(), load_ci())
    return await ending(order, lambda names: f"started {', '.join(names)}" if names else "nothing new")
