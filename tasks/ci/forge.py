"""The forge of a repository: which client speaks to it, and how long one asks again while it is away or busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from interlock.ci.alarm import Alarm, step
from interlock.ci.forge import Forge, Issue, PullRequest, Status, failed
from interlock.ci.host import ForgeAccount
from interlock.ci.proposal import Proposal, answered, open_of, proposes
from interlock.errors import ForgeError, HostConfigError
from tasks.common import git
from tasks.common.effect import effect

R = TypeVar("R")
SECONDS = 20.0
"""How long one answer may take."""
_ATTEMPTS = 4
_LONGEST_SECONDS = 30.0
"""Of a pause; a forge that asks for a longer one is left alone."""


def asked(account: ForgeAccount, call: Callable[[Forge], R]) -> R:
    """What `call` gives; made again, a few times, when the forge is away or busy. ForgeError when it does not get on.

    `call` is made as a whole again, so it looks at what is there before it makes something.
    """
    forge = _connected(account, read_token(account))
    for attempt in range(_ATTEMPTS):
        try:
            return call(forge)
        except ForgeError as error:
            seconds = max(error.after_seconds, 2.0**attempt)
            if not error.transient or attempt == _ATTEMPTS - 1 or seconds > _LONGEST_SECONDS:
                raise
            time.sleep(seconds)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # The clients trust the form of an answer.
            said = f"an answer in a form that is not known ({type(error).__name__})"
            raise failed(account, "speak to it", status=0, said=said) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


@effect(name="tell the forge", task_run_name="tell the forge: {status.state}")
def set_status(account: ForgeAccount, status: Status) -> None:
    """A status at a commit."""
    asked(account, lambda forge: forge.set_status(status))


def read_token(account: ForgeAccount) -> str:
    """The token, from a file that others cannot read; read each time, so that a new one counts at once."""
    token = git.read_private(account.token, others=0o007, what="forge token", wanted="0600").strip()
    if not token.isascii() or not token.decode().isprintable() or b" " in token or not token:
        raise HostConfigError(f"{account.token}: it must hold one token, and nothing else")
    return token.decode()


@cache
def _connected(account: ForgeAccount, token: str) -> Forge:
    """The clients are slow to import, and not everybody has a forge of each kind."""
    if account.kind == "github":
        from tasks.ci.github import connect
    elif account.kind == "gitlab":
        from tasks.ci.gitlab import connect
    else:
        from tasks.ci.gitea import connect
    return connect(account, token, seconds=SECONDS)


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
