"""What CI has to do with a forge, whichever it is: commit statuses, pull requests, issues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from interlock.ci.host import ForgeAccount
from interlock.errors import ForgeError

State = Literal["pending", "success", "failure", "error"]
"""`failure`: the commit is to blame. `error`: a tool is."""


@dataclass(frozen=True)
class Status:
    """What stands beside a commit. A newer one of the same context takes its place."""

    commit: str
    state: State
    context: str
    description: str
    url: str
    """Where one reads more; empty for nowhere."""


PullState = Literal["open", "closed", "merged"]


@dataclass(frozen=True)
class PullRequest:
    """From a branch of ours; a merge request, where it is called so."""

    number: int
    url: str
    title: str
    body: str
    head: str
    """The commit at its branch."""
    state: PullState


@dataclass(frozen=True)
class Issue:
    number: int
    url: str
    title: str
    body: str
    open: bool


class Forge(Protocol):
    """One repository on a forge. Every call may raise ForgeError, and may be made twice without harm but for `open_…`,
    before which one looks whether it is there.
    """

    def set_status(self, status: Status) -> None: ...

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        """All that ever were from `branch` of this repository to `base`, newest first."""

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest: ...

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None: ...

    def close_pull_request(self, number: int) -> None: ...

    def issues(self) -> tuple[Issue, ...]:
        """Open and closed, newest first."""

    def open_issue(self, *, title: str, body: str) -> Issue: ...

    def edit_issue(self, number: int, *, title: str, body: str) -> None: ...

    def close_issue(self, number: int) -> None: ...


MAX_TEXT = 60_000
"""How long a description may be; GitHub takes 65,536 characters."""
MAX_LISTED = 1_000
"""How many pull requests or issues are looked through."""
MAX_DESCRIPTION = 140
"""Of a status; GitHub takes no more."""


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and a sign that more followed."""
    return text if len(text) <= most else text[: most - 1] + "…"


# what went wrong -------------------------------------------------------------------------------------


_HINTS = {
    401: "the forge does not accept the token: put a new one into {token}",
    403: "the token in {token} may not do that: give it the right, or name another file in ci.yaml",
    404: "there is no such project, or the token in {token} may not see it: correct `project` in ci.yaml",
}
_PASSING = frozenset({0, 408, 425, 429})
_LATER = "the forge is away or busy: it is tried again"


def failed(
    account: ForgeAccount, doing: str, *, status: int, said: str, after_seconds: float = 0, busy: bool = False
) -> ForgeError:
    """The error for an answer; status 0 means that there was none. `busy`: a limit was reached, whatever the status."""
    transient = busy or status in _PASSING or status >= 500
    answer = f"{status} {said}".strip() if status else said or "no answer"
    return ForgeError(
        f"{account.project} on {account.url}: {doing}: {shortened(' '.join(answer.split()), 300)}",
        status=status,
        hint=_LATER if transient else _HINTS.get(status, "").format(token=account.token),
        transient=transient,
        after_seconds=after_seconds,
    )


def seconds_to_wait(headers: Mapping[str, str], *, now: float) -> float:
    """What the answer asks for: by Retry-After in seconds, or by the second at which GitHub's limit ends."""
    lower = {name.lower(): value for name, value in headers.items()}
    if (after := lower.get("retry-after", "")).isdecimal():
        return float(after)
    reset = lower.get("x-ratelimit-reset", "")
    if lower.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - now)
    return 0.0
