"""Comments on GitHub's pull requests, through PyGithub."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from interlock.cd.pull_requests import MAX_LISTED, Account, Comment, Commenter, PullRequest
from tasks.common.forge_clients.github import connected, doing

if TYPE_CHECKING:
    from github.PullRequest import PullRequest as GithubPullRequest
    from github.Repository import Repository

    from interlock.contract.forge import ForgeAccount


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Commenter:
    """Nothing is asked yet."""
    return _Repository(account, connected(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, repository: Repository) -> None:
        self._account = account
        self._repository = repository

    def account(self) -> Account:
        with doing(self._account, "ask whose token it is"):
            _, user = self._repository.requester.requestJsonAndCheck("GET", "/user")
            _, project = self._repository.requester.requestJsonAndCheck("GET", f"/repos/{self._account.project}")
            rights = project["permissions"]
            pushes = any(rights.get(name) for name in ("push", "maintain", "admin"))
            return Account(int(user["id"]), str(user["login"]), pushes)

    def open_requests(self, base: str) -> tuple[PullRequest, ...]:
        with doing(self._account, f"list the open pull requests to {base}"):
            found = self._repository.get_pulls(state="open", base=base, sort="created", direction="desc")
            return tuple(_pull_request(each) for each in islice(found, MAX_LISTED) if each.base.ref == base)

    def comments(self, number: int) -> tuple[Comment, ...]:
        with doing(self._account, f"list the comments on pull request {number}"):
            found = islice(self._repository.get_issue(number).get_comments(), MAX_LISTED)
            return tuple(Comment(each.id, each.user.id if each.user else 0, each.body or "") for each in found)

    def add(self, number: int, body: str) -> None:
        with doing(self._account, f"comment on pull request {number}"):
            self._repository.get_issue(number).create_comment(body)

    def edit(self, number: int, comment: int, body: str) -> None:
        with doing(self._account, f"edit the comment on pull request {number}"):
            self._repository.get_issue(number).get_comment(comment).edit(body)


def _pull_request(found: GithubPullRequest) -> PullRequest:
    """The repository of a fork's branch may be gone."""
    theirs, own = found.head.repo, found.base.repo
    return PullRequest(found.number, found.head.sha, draft=bool(found.draft), fork=not theirs or theirs.id != own.id)
