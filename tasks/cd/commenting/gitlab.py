"""Comments on GitLab's merge requests, through python-gitlab."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from interlock.cd.pull_requests import MAX_LISTED, Account, Comment, Commenter, PullRequest
from tasks.common.forge_clients.gitlab import ONCE, Connection

if TYPE_CHECKING:
    from interlock.contract.forge import ForgeAccount

_DEVELOPER = 30
"""The lowest access level that pushes."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Commenter:
    """Nothing is asked yet."""
    return _Repository(account, Connection(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, connection: Connection) -> None:
        self._account = account
        self._connection = connection
        self._project = connection.client.projects.get(account.project, lazy=True)

    def account(self) -> Account:
        with self._connection.doing("ask whose token it is"):
            user: Any = self._connection.client.http_get("/user", **ONCE)
            rights = self._connection.client.projects.get(self._account.project, **ONCE).permissions
            levels = [each["access_level"] for each in rights.values() if each]
            return Account(int(user["id"]), str(user["username"]), pushes=max(levels, default=0) >= _DEVELOPER)

    def open_requests(self, base: str) -> tuple[PullRequest, ...]:
        with self._connection.doing(f"list the open merge requests to {base}"):
            found = self._project.mergerequests.list(
                state="opened",
                target_branch=base,
                order_by="created_at",
                sort="desc",
                per_page=100,
                iterator=True,
                **ONCE,
            )
            return tuple(map(_pull_request, islice(found, MAX_LISTED)))

    def comments(self, number: int) -> tuple[Comment, ...]:
        with self._connection.doing(f"list the comments on merge request {number}"):
            notes = self._project.mergerequests.get(number, lazy=True).notes
            found = notes.list(sort="asc", order_by="created_at", per_page=100, iterator=True, **ONCE)
            notes_read = islice(found, MAX_LISTED)
            return tuple(Comment(each.id, int(each.author["id"]), each.body or "") for each in notes_read)

    def add(self, number: int, body: str) -> None:
        with self._connection.doing(f"comment on merge request {number}"):
            self._project.mergerequests.get(number, lazy=True).notes.create({"body": body}, **ONCE)

    def edit(self, number: int, comment: int, body: str) -> None:
        with self._connection.doing(f"edit the comment on merge request {number}"):
            self._project.mergerequests.get(number, lazy=True).notes.update(comment, {"body": body}, **ONCE)


def _pull_request(found: Any) -> PullRequest:
    fork = found.source_project_id != found.target_project_id
    return PullRequest(found.iid, found.sha or "", draft=bool(found.draft), fork=fork)
