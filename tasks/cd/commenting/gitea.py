"""Comments on Gitea's and Forgejo's pull requests, through pyforgejo."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from interlock.cd.pull_requests import MAX_LISTED, Account, Comment, Commenter, PullRequest
from tasks.common.forge_clients.gitea import ONCE, connected, doing

if TYPE_CHECKING:
    from pyforgejo import PyforgejoApi
    from pyforgejo.types.pull_request import PullRequest as GiteaPullRequest

    from interlock.contract.forge import ForgeAccount

_PAGE = 50


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Commenter:
    """Nothing is asked yet."""
    return _Repository(account, connected(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, client: PyforgejoApi) -> None:
        self._account = account
        self._client = client
        self._name = account.project.split("/", 1)

    def account(self) -> Account:
        with doing(self._account, "ask whose token it is"):
            user = self._client.user.get_current(request_options=ONCE)
            rights = self._client.repository.repo_get(*self._name, request_options=ONCE).permissions
            if user.id is None or rights is None:
                raise ValueError("neither account nor rights")
            return Account(user.id, user.login or "", pushes=bool(rights.push or rights.admin))

    def open_requests(self, base: str) -> tuple[PullRequest, ...]:
        with doing(self._account, f"list the open pull requests to {base}"):
            found = [each for each in self._listed() if each.base and each.base.ref == base]
            return tuple(map(_pull_request, sorted(found, key=lambda each: -(each.number or 0))))

    def _listed(self) -> list[GiteaPullRequest]:
        """All of them, page by page; a server may give fewer than it was asked for, so only an empty one ends."""
        listed: list[GiteaPullRequest] = []
        for number in count(1):
            page = self._client.repository.repo_list_pull_requests(
                *self._name, state="open", sort="recentupdate", page=number, limit=_PAGE, request_options=ONCE
            )
            listed += page
            if not page or len(listed) >= MAX_LISTED:
                break
        return listed

    def comments(self, number: int) -> tuple[Comment, ...]:
        with doing(self._account, f"list the comments on pull request {number}"):
            found = self._client.issue.get_comments(*self._name, number, request_options=ONCE)
            return tuple(
                Comment(each.id or 0, (each.user.id if each.user else None) or 0, each.body or "") for each in found
            )

    def add(self, number: int, body: str) -> None:
        with doing(self._account, f"comment on pull request {number}"):
            self._client.issue.create_comment(*self._name, number, body=body, request_options=ONCE)

    def edit(self, number: int, comment: int, body: str) -> None:
        with doing(self._account, f"edit the comment on pull request {number}"):
            self._client.issue.edit_comment(*self._name, comment, body=body, request_options=ONCE)


def _pull_request(found: GiteaPullRequest) -> PullRequest:
    head = found.head
    fork = not head or not found.base or head.repo_id != found.base.repo_id
    return PullRequest(found.number or 0, (head.sha if head else None) or "", draft=bool(found.draft), fork=fork)
