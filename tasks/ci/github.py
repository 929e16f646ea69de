"""GitHub, through PyGithub: the one module that imports it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import github
import requests
from github import Auth, Github, GithubException, RateLimitExceededException

from interlock.ci.forge import MAX_LISTED, Forge, Issue, PullRequest, PullState, Status, failed, seconds_to_wait

if TYPE_CHECKING:
    from github.Issue import Issue as GithubIssue
    from github.PullRequest import PullRequest as GithubPullRequest
    from github.Repository import Repository

    from interlock.ci.host import ForgeAccount


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Forge:
    """Nothing is asked yet."""
    client = Github(
        base_url=account.url,
        auth=Auth.Token(token),
        timeout=int(seconds),
        user_agent="interlock",
        per_page=100,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
        lazy=True,
    )
    return _Repository(account, client.get_repo(account.project))


class _Repository:
    def __init__(self, account: ForgeAccount, repository: Repository) -> None:
        self._account = account
        self._repository = repository

    def set_status(self, status: Status) -> None:
        with self._doing(f"set the status of {status.commit[:12]}"):
            commit = self._repository.get_commit(status.commit)
            commit.create_status(
                status.state,
                target_url=status.url or github.GithubObject.NotSet,
                description=status.description,
                context=status.context,
            )

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        owner = self._account.project.partition("/")[0]
        with self._doing(f"list the pull requests of {branch}"):
            found = self._repository.get_pulls(
                state="all", head=f"{owner}:{branch}", base=base, sort="created", direction="desc"
            )
            # Without `head`, GitHub answers with all of them; a wrong one is none of ours.
            return tuple(_pull_request(each) for each in islice(found, MAX_LISTED) if each.head.ref == branch)

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        with self._doing(f"open a pull request from {branch}"):
            return _pull_request(self._repository.create_pull(base, branch, title=title, body=body))

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None:
        with self._doing(f"edit pull request {number}"):
            self._repository.get_pull(number).edit(title=title, body=body)

    def close_pull_request(self, number: int) -> None:
        with self._doing(f"close pull request {number}"):
            self._repository.get_pull(number).edit(state="closed")

    def issues(self) -> tuple[Issue, ...]:
        with self._doing("list the issues"):
            found = islice(self._repository.get_issues(state="all", sort="created", direction="desc"), MAX_LISTED)
            return tuple(_issue(each) for each in found if each.pull_request is None)

    def open_issue(self, *, title: str, body: str) -> Issue:
        with self._doing("open an issue"):
            return _issue(self._repository.create_issue(title, body=body))

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        with self._doing(f"edit issue {number}"):
            self._repository.get_issue(number).edit(title=title, body=body)

    def close_issue(self, number: int) -> None:
        with self._doing(f"close issue {number}"):
            self._repository.get_issue(number).edit(state="closed")

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except GithubException as error:
            raise failed(
                self._account,
                what,
                status=error.status,
                said=_said(error.data) or error.message or "",
                after_seconds=seconds_to_wait(error.headers or {}, now=time.time()),
                busy=isinstance(error, RateLimitExceededException),
            ) from None
        except requests.RequestException as error:
            raise failed(self._account, what, status=0, said=type(error).__name__) from None


def _said(data: Any) -> str:
    """GitHub's message, with the reasons of a 422."""
    if not isinstance(data, dict):
        return ""
    reasons = [each.get("message") or each.get("code") for each in data.get("errors", ()) if isinstance(each, dict)]
    return "; ".join(str(each) for each in (data.get("message"), *reasons) if each)


def _pull_request(found: GithubPullRequest) -> PullRequest:
    state: PullState = "merged" if found.merged_at else "open" if found.state == "open" else "closed"
    return PullRequest(found.number, found.html_url, found.title, found.body or "", found.head.sha, state)


def _issue(found: GithubIssue) -> Issue:
    return Issue(found.number, found.html_url, found.title, found.body or "", found.state == "open")
