"""Gitea and Forgejo, through pyforgejo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from interlock.ci.forge import MAX_LISTED, Forge, Issue, PullRequest, PullState, Status
from tasks.common.forge_clients.gitea import ONCE, connected, doing

if TYPE_CHECKING:
    from pyforgejo import PyforgejoApi
    from pyforgejo.types.issue import Issue as GiteaIssue
    from pyforgejo.types.pull_request import PullRequest as GiteaPullRequest

    from interlock.contract.forge import ForgeAccount

T = TypeVar("T")
_PAGE = 50
"""What these forges give at most, unless their own settings say otherwise."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Forge:
    """Nothing is asked yet."""
    return _Repository(account, connected(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, client: PyforgejoApi) -> None:
        self._account = account
        self._repository = client.repository
        self._issue = client.issue
        self._name = account.project.split("/", 1)

    def set_status(self, status: Status) -> None:
        with doing(self._account, f"set the status of {status.commit[:12]}"):
            self._repository.repo_create_status(
                *self._name,
                status.commit,
                context=status.context,
                description=status.description,
                state=status.state,
                target_url=status.url,
                request_options=ONCE,
            )

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        def page(number: int) -> list[GiteaPullRequest]:
            found: list[GiteaPullRequest] = self._repository.repo_list_pull_requests(
                *self._name, state="all", sort="recentupdate", page=number, limit=_PAGE, request_options=ONCE
            )
            return found

        with doing(self._account, f"list the pull requests of {branch}"):
            own = [each for each in _pages(page) if _is_from(each, branch, base)]
            return tuple(sorted(map(_pull_request, own), key=lambda each: -each.number))

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        with doing(self._account, f"open a pull request from {branch}"):
            return _pull_request(
                self._repository.repo_create_pull_request(
                    *self._name, base=base, head=branch, title=title, body=body, request_options=ONCE
                )
            )

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None:
        with doing(self._account, f"edit pull request {number}"):
            self._repository.repo_edit_pull_request(*self._name, number, title=title, body=body, request_options=ONCE)

    def close_pull_request(self, number: int) -> None:
        with doing(self._account, f"close pull request {number}"):
            self._repository.repo_edit_pull_request(*self._name, number, state="closed", request_options=ONCE)

    def issues(self) -> tuple[Issue, ...]:
        def page(number: int) -> list[GiteaIssue]:
            found: list[GiteaIssue] = self._issue.list_issues(
                *self._name, state="all", type="issues", page=number, limit=_PAGE, request_options=ONCE
            )
            return found

        with doing(self._account, "list the issues"):
            return tuple(sorted(map(_issue, _pages(page)), key=lambda each: -each.number))

    def open_issue(self, *, title: str, body: str) -> Issue:
        with doing(self._account, "open an issue"):
            return _issue(self._issue.create_issue(*self._name, title=title, body=body, request_options=ONCE))

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        with doing(self._account, f"edit issue {number}"):
            self._issue.edit_issue(*self._name, number, title=title, body=body, request_options=ONCE)

    def close_issue(self, number: int) -> None:
        with doing(self._account, f"close issue {number}"):
            self._issue.edit_issue(*self._name, number, state="closed", request_options=ONCE)


def _pages(page: Callable[[int], list[T]]) -> Iterator[T]:
    """All of them, page by page; a server may give fewer on a page than was asked for, so only an empty one ends."""
    listed = 0
    for number in count(1):
        found = page(number)
        yield from found
        listed += len(found)
        if not found or listed >= MAX_LISTED:
            return


def _is_from(found: GiteaPullRequest, branch: str, base: str) -> bool:
    """From this repository's branch; a fork may have one of the same name."""
    if not found.head or not found.base:
        return False
    return (found.head.ref, found.base.ref) == (branch, base) and found.head.repo_id == found.base.repo_id


def _pull_request(found: GiteaPullRequest) -> PullRequest:
    state: PullState = "merged" if found.merged else "open" if found.state == "open" else "closed"
    head = (found.head.sha if found.head else None) or ""
    return PullRequest(found.number or 0, found.html_url or "", found.title or "", found.body or "", head, state)


def _issue(found: GiteaIssue) -> Issue:
    return Issue(found.number or 0, found.html_url or "", found.title or "", found.body or "", found.state == "open")
