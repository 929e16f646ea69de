"""GitHub, through PyGithub."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import github

from interlock.ci.forge import MAX_LISTED, Forge, Issue, PullRequest, PullState, Status
from tasks.common.forge_clients.github import connected, doing

if TYPE_CHECKING:
    from github.Issue import Issue as GithubIssue
    from github.PullRequest import PullRequest as GithubPullRequest
    from github.Repository import Repository

    from interlock.contract.forge import ForgeAccount


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Forge:
    """Nothing is asked yet."""
    return _Repository(account, connected(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, repository: Repository) -> None:
        self._account = account
        self._repository = repository

    def set_status(self, status: Status) -> None:
        with doing(self._account, f"set the status of {status.commit[:12]}"):
            commit = self._repository.get_commit(status.commit)
            commit.create_status(
                status.state,
                target_url=status.url or github.GithubObject.NotSet,
                description=status.description,
                context=status.context,
            )

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        owner = self._account.project.partition("/")[0]
        with doing(self._account, f"list the pull requests of {branch}"):
            found = self._repository.get_pulls(
                state="all", head=f"{owner}:{branch}", base=base, sort="created", direction="desc"
            )
            # Without `head`, GitHub answers with all of them; a wrong one is none of ours.
            return tuple(_pull_request(each) for each in islice(found, MAX_LISTED) if each.head.ref == branch)

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        with doing(self._account, f"open a pull request from {branch}"):
            return _pull_request(self._repository.create_pull(base, branch, title=title, body=body))

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None:
        with doing(self._account, f"edit pull request {number}"):
            self._repository.get_pull(number).edit(title=title, body=body)

    def close_pull_request(self, number: int) -> None:
        with doing(self._account, f"close pull request {number}"):
            self._repository.get_pull(number).edit(state="closed")

    def issues(self) -> tuple[Issue, ...]:
        with doing(self._account, "list the issues"):
            found = islice(self._repository.get_issues(state="all", sort="created", direction="desc"), MAX_LISTED)
            return tuple(_issue(each) for each in found if each.pull_request is None)

    def open_issue(self, *, title: str, body: str) -> Issue:
        with doing(self._account, "open an issue"):
            return _issue(self._repository.create_issue(title, body=body))

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        with doing(self._account, f"edit issue {number}"):
            self._repository.get_issue(number).edit(title=title, body=body)

    def close_issue(self, number: int) -> None:
        with doing(self._account, f"close issue {number}"):
            self._repository.get_issue(number).edit(state="closed")


def _pull_request(found: GithubPullRequest) -> PullRequest:
    state: PullState = "merged" if found.merged_at else "open" if found.state == "open" else "closed"
    return PullRequest(found.number, found.html_url, found.title, found.body or "", found.head.sha, state)


def _issue(found: GithubIssue) -> Issue:
    return Issue(found.number, found.html_url, found.title, found.body or "", found.state == "open")
