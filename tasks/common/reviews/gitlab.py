"""GitLab's approvals, through python-gitlab.

GitLab does not keep which commit somebody approved. It can be told only where a push takes approvals away, and then by
the time: an approval is of the version that was the newest when it was given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from interlock.contract.models import Account
from interlock.contract.reviews import Range, Request, Review
from interlock.errors import ForgeError
from tasks.common.forge_clients.gitlab import ONCE, Connection
from tasks.common.reviews.doors import paged

if TYPE_CHECKING:
    from interlock.contract.forge import ForgeAccount
    from tasks.common.reviews.doors import Door

_STAYS = "a push leaves approvals as they are there, or the edition cannot say, so it may be of an older commit"
_UNTIMED = "the forge does not tell when it was given, and so not of which commit it is"


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, Connection(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, connection: Connection) -> None:
        self._account = account
        self._connection = connection
        self._root = f"/projects/{quote(account.project, safe='')}"

    def requests(self, branch: str, range_: Range) -> tuple[Request, ...]:
        with self._connection.doing("read the reviews"):
            taken_away = self._taken_away()
            found: dict[int, Request] = {}
            for commit in reversed(range_.changing):
                if any(commit in each.commits for each in found.values()):
                    continue
                for merge in self._of(commit):
                    if merge["iid"] not in found and merge["target_branch"] == branch:
                        found[merge["iid"]] = self._request(merge, taken_away=taken_away)
            return tuple(found.values())

    def _taken_away(self) -> bool:
        """Whether a push takes approvals away; False where the edition, or the token's rights, do not let one know."""
        try:
            with self._connection.doing("read what a push does to approvals"):
                return self._get("/approvals").get("reset_approvals_on_push") is True
        except ForgeError as error:
            if error.status in (403, 404):
                return False
            raise

    def _of(self, commit: str) -> list[Any]:
        try:
            with self._connection.doing(f"read what brought {commit[:12]}"):
                return self._all(f"/repository/commits/{commit}/merge_requests")
        except ForgeError as error:
            if error.status == 404 and "404 Commit Not Found" in error.message:
                return []
            raise

    def _request(self, merge: Any, *, taken_away: bool) -> Request:
        at = f"/merge_requests/{merge['iid']}"
        commits, versions = self._all(f"{at}/commits"), self._all(f"{at}/versions")
        given = self._get(f"{at}/approvals")["approved_by"]
        return Request(
            number=merge["iid"],
            author=self._who(merge["author"]) if merge["author"] else None,
            head=merge["sha"] or "",
            commits=frozenset(each["id"] for each in commits),
            reviews=tuple(self._review(each, versions, taken_away=taken_away) for each in given),
            squashed=merge.get("squash_commit_sha") or "" if merge["state"] == "merged" else "",
        )

    def _review(self, approval: Any, versions: Sequence[Any], *, taken_away: bool) -> Review:
        by, when = self._who(approval["user"]), approval.get("approved_at")
        if not when:
            return Review(by, "", None, _UNTIMED)
        given = dt.datetime.fromisoformat(when)
        before = [each for each in versions if dt.datetime.fromisoformat(each["created_at"]) <= given]
        newest = max(before, key=lambda each: dt.datetime.fromisoformat(each["created_at"]), default=None)
        commit = newest["head_commit_sha"] if newest else ""
        return Review(by, commit, given, "" if taken_away else _STAYS)

    def _who(self, user: Any) -> Account:
        return Account(forge=self._account.url, name=user["username"], id=user["id"])

    def _get(self, path: str, **query: Any) -> Any:
        return self._connection.client.http_get(f"{self._root}{path}", query_data=query, **ONCE)

    def _all(self, path: str) -> list[Any]:
        """Of every page."""
        return paged(self._account, lambda page: list(self._get(path, per_page=100, page=page)))
