"""The forge of a repository: which client speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from interlock.ci.alarm import Alarm, step
from interlock.ci.forge import Forge, Issue, PullRequest, Status
from interlock.ci.proposal import Proposal, answered, open_of, proposes
from interlock.contract.forge import ForgeAccount
from tasks.common.effect import effect
from tasks.common.forges import connected, insist, read_token

R = TypeVar("R")


def asked(account: ForgeAccount, call: Callable[[Forge], R]) -> R:
    """What `call` gives; made again, a few times, when the forge is away or busy. ForgeError when it does not get on.

    `call` is made as a whole again, so it looks at what is there before it makes something.
    """
    forge = _connected(account, read_token(account))
    return insist(account, lambda: call(forge))


@effect(name="tell the forge", task_run_name="tell the forge: {status.state}")
def set_status(account: ForgeAccount, status: Status) -> None:
    """A status at a commit."""
    asked(account, lambda forge: forge.set_status(status))


@cache
def _connected(account: ForgeAccount, token: str) -> Forge:
    forge: Forge = connected(__package__, account, token)
    return forge


@effect(name="open or update the pull request", task_run_name="pull request from {wanted.branch}")
def ensure_pull_request(account: ForgeAccount, wanted: Proposal) -> PullRequest:
    """The one open pull request from the branch, with this title and text; opened when there is none.

    When people closed or merged the one of this very source commit, that one: they are not asked again.
    """

    def ensure(forge: Forge) -> PullRequest:
        found = forge.pull_requests(branch=wanted.branch, base=wanted.base)
        there = open_of(found)
        if there is None:
            return answered(found, wanted.commit) or forge.open_pull_request(
                branch=wanted.branch, base=wanted.base, title=wanted.title, body=wanted.body
            )
        if (there.title, there.body) != (wanted.title, wanted.body):
            forge.edit_pull_request(there.number, title=wanted.title, body=wanted.body)
        return there

    return asked(account, ensure)


@effect(name="withdraw the pull request", task_run_name="withdraw {branch}")
def withdraw_pull_request(
    account: ForgeAccount, *, branch: str, base: str, commit: str, why: str
) -> PullRequest | None:
    """Close the one that proposes this source commit, when there is one; it may be opened anew when the gate opens."""

    def withdraw(forge: Forge) -> PullRequest | None:
        there = open_of(forge.pull_requests(branch=branch, base=base))
        if there is None or not proposes(there, commit):
            return None
        forge.edit_pull_request(there.number, title=f"Withdrawn: {there.title}", body=why)
        forge.close_pull_request(there.number)
        return there

    return asked(account, withdraw)


@effect(name="settle issues")
def settle_issues(account: ForgeAccount, wanted: Sequence[Alarm]) -> tuple[Issue, ...]:
    """Open, update or close what the alarms say; the issues that are open for them now."""

    def settle(forge: Forge) -> tuple[Issue, ...]:
        found = forge.issues()
        return tuple(filter(None, (_settle(forge, found, each) for each in wanted)))

    return asked(account, settle)


def _settle(forge: Forge, found: Sequence[Issue], alarm: Alarm) -> Issue | None:
    what, issue = step(found, alarm)
    if what == "open":
        return forge.open_issue(title=alarm.title, body=alarm.body)
    if issue is None:
        return None
    if what in ("edit", "close"):
        forge.edit_issue(issue.number, title=alarm.title, body=alarm.body)
    if what == "close":
        forge.close_issue(issue.number)
    return issue if issue.open and what != "close" else None
