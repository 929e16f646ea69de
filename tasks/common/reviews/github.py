"""GitHub's reviews, through PyGithub."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from interlock.contract.models import Account
from interlock.contract.reviews import Range, Request, Review
from interlock.errors import ForgeError
from tasks.common.forge_clients.github import connected, doing
from tasks.common.reviews.doors import paged

if TYPE_CHECKING:
    from github.Repository import Repository

    from interlock.contract.forge import ForgeAccount
    from tasks.common.reviews.doors import Door

_DECIDING = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})
"""A comment leaves the approval before it as it is."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, connected(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, repository: Repository) -> None:
        self._account = account
        self._repository = repository

    def requests(self, branch: str, range_: Range) -> tuple[Request, ...]:
        with doing(self._account, "read the reviews"):
            found: dict[int, Request] = {}
            for commit in reversed(range_.changing):
                if any(commit in each.commits for each in found.values()):
                    continue
                for pull in self._of(commit):
                    if pull["number"] not in found and self._is_into(pull, branch):
                        found[pull["number"]] = self._request(pull)
            return tuple(found.values())

    def _of(self, commit: str) -> list[Any]:
        try:
            with doing(self._account, f"read what brought {commit[:12]}"):
                return self._all(f"/commits/{commit}/pulls")
        except ForgeError as error:
            if error.status == 422:  # it does not have the commit
                return []
            raise

    def _is_into(self, pull: Any, branch: str) -> bool:
        base = pull["base"]
        return bool(base["ref"] == branch and base["repo"]["full_name"].casefold() == self._account.project.casefold())

    def _request(self, pull: Any) -> Request:
        number = pull["number"]
        commits = frozenset(each["sha"] for each in self._all(f"/pulls/{number}/commits"))
        latest: dict[int, Any] = {}
        for each in self._all(f"/pulls/{number}/reviews"):
            if each["user"] and each["state"] in _DECIDING:
                latest[each["user"]["id"]] = each
        given = (each for each in latest.values() if each["state"] != "CHANGES_REQUESTED")
        return Request(
            number=number,
            author=self._who(pull["user"]) if pull["user"] else None,
            head=pull["head"]["sha"],
            commits=commits,
            reviews=tuple(map(self._review, given)),
            squashed=pull["merge_commit_sha"] or "" if pull["merged_at"] else "",
        )

    def _review(self, review: Any) -> Review:
        return Review(
            by=self._who(review["user"]),
            commit=review["commit_id"] or "",
            given=dt.datetime.fromisoformat(review["submitted_at"]),
            problem="it was dismissed" if review["state"] == "DISMISSED" else "",
        )

    def _who(self, user: Any) -> Account:
        return Account(forge=self._account.url, name=user["login"], id=user["id"])

    def _all(self, path: str) -> list[Any]:
        """Of every page."""

        def page(number: int) -> list[Any]:
            _, answer = self._repository.requester.requestJsonAndCheck(
                "GET", f"/repos/{self._account.project}{path}", parameters={"per_page": 100, "page": number}
            )
            return list(answer)

        return paged(self._account, page)
