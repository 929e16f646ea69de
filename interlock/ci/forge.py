"""What CI has to do with a forge, whichever it is: commit statuses, pull requests, issues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

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
