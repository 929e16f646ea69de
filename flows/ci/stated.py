"""The status of a source commit on its forge. It says what came of a release, and never changes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from interlock.ci import statuses
from interlock.ci.statuses import run_url
from interlock.contract.report import Report, cell
from interlock.errors import InterlockError
from tasks.ci.forge import set_status
from tasks.ci.unsent import drop_unsent, keep_unsent, unsent

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from interlock.ci.forge import Status
    from interlock.ci.host import CiHost
    from interlock.contract.forge import ForgeAccount
    from tasks.ci.source import Head

R = TypeVar("R")


@dataclass
class Told:
    """How it ended, for the status."""

    text: str = "released"

    def of(self, outcome: R) -> R:
        self.text = str(outcome)
        return outcome


@asynccontextmanager
async def stated(
    presenter: Presenter, host: CiHost, head: Head, run: str, within: AbstractContextManager[None]
) -> AsyncIterator[Told]:
    """Pending while the block is under way, then what came of it. `within` is entered around the block."""
    told, account, url = Told(), host.forges.get(head.repository), run_url(host.prefect_ui, run)
    if account is None:
        with within:
            yield told
        return
    beginning = asyncio.create_task(_say(presenter, host, account, head, statuses.pending(head.commit, url=url)))
    try:
        with within:
            yield told
    except InterlockError as error:
        await beginning
        await _say(presenter, host, account, head, statuses.failed(head.commit, error, url=url))
        raise
    except BaseException as error:
        # Whoever stops a run does not wait long; polling sends it.
        beginning.cancel()
        keep_unsent(host.state, head.repository, statuses.failed(head.commit, error, url=url))
        raise
    await beginning
    await _say(presenter, host, account, head, statuses.passed(head.commit, told=told.text, url=url))


async def _say(presenter: Presenter, host: CiHost, account: ForgeAccount, head: Head, status: Status) -> None:
    """What cannot be said now is told on the run's page, and tried again with the polls of a day."""
    drop_unsent(host.state, head.repository, head.commit)
    try:
        await presenter.step(set_status, account, status)
    except InterlockError as error:
        again = status.state != "pending"
        if again:
            keep_unsent(host.state, head.repository, status)
        presenter.say(str(error))
        await presenter.show(_report(status, error, again=again))


def _report(status: Status, error: InterlockError, *, again: bool) -> Report:
    later = "It is tried again with each poll, for a day." if again else ""
    text = f"{cell(error.message)}\n\n{cell(error.hint)}\n\nThe release does not depend on it. {later}"
    return Report("forge", f"The forge was not told that {status.commit[:12]} is {status.state}", text)


async def say_again(presenter: Presenter, host: CiHost) -> None:
    """Send what forges were away for."""
    for repository, status in unsent(host.state):
        account = host.forges.get(repository)
        try:
            if account:
                await presenter.step(set_status, account, status)
        except InterlockError as error:
            presenter.say(str(error))
            continue
        drop_unsent(host.state, repository, status.commit)
