"""Gitea's and Forgejo's reviews, through pyforgejo."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from interlock.contract.models import Account
from interlock.contract.reviews import Range, Request, Review
from tasks.common.forge_clients.gitea import ONCE, connected, doing
from tasks.common.reviews.doors import MOST_LISTED, paged

if TYPE_CHECKING:
    from pyforgejo import PyforgejoApi
    from pyforgejo.types.pull_request import PullRequest
    from pyforgejo.types.pull_review import PullReview
    from pyforgejo.types.user import User

    from interlock.contract.forge import ForgeAccount
    from tasks.common.reviews.doors import Door

_PAGE = 50
_PAGES = MOST_LISTED // _PAGE
_DECIDING = frozenset({"APPROVED", "REQUEST_CHANGES"})
"""A comment leaves the approval before it as it is."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, connected(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, client: PyforgejoApi) -> None:
        self._account = account
        self._repository = client.repository
        self._name = account.project.split("/", 1)

    def requests(self, branch: str, range_: Range) -> tuple[Request, ...]:
        """Of those that were updated last: no call tells which requests a commit is part of."""
        with doing(self._account, "read the reviews"):
            line = frozenset(range_.line)
            found: list[PullRequest] = []
            for number in range(1, _PAGES + 1):
                got = self._repository.repo_list_pull_requests(
                    *self._name, state="all", sort="recentupdate", page=number, limit=_PAGE, request_options=ONCE
                )
                found += [each for each in got if _is_into(each, branch) and _brought(each) & line]
                if not got:
                    break
            return tuple(map(self._request, found))

    def _request(self, pull: PullRequest) -> Request:
        number = pull.number or 0
        commits = paged(
            self._account,
            lambda page: self._repository.repo_get_pull_request_commits(
                *self._name, number, page=page, limit=_PAGE, request_options=ONCE
            ),
        )
        given = paged(
            self._account,
            lambda page: self._repository.repo_list_pull_reviews(
                *self._name, number, page=page, limit=_PAGE, request_options=ONCE
            ),
        )
        latest: dict[int, PullReview] = {}
        for each in given:
            if each.user and each.user.id and each.state in _DECIDING:
                latest[each.user.id] = each
        return Request(
            number=number,
            author=self._who(pull.user) if pull.user else None,
            head=(pull.head.sha if pull.head else None) or "",
            commits=frozenset(each.sha for each in commits if each.sha),
            reviews=tuple(self._review(each) for each in latest.values() if each.state == "APPROVED"),
            squashed=pull.merge_commit_sha or "" if pull.merged else "",
        )

    def _review(self, review: PullReview) -> Review:
        if review.user is None or not isinstance(review.submitted_at, dt.datetime):
            raise ValueError("a review without who and when")
        return Review(
            by=self._who(review.user),
            commit=review.commit_id or "",
            given=review.submitted_at.astimezone(dt.UTC),
            problem="it was dismissed" if review.dismissed else "",
        )

    def _who(self, user: User) -> Account:
        return Account(forge=self._account.url, name=user.login or "", id=user.id or 0)


def _is_into(pull: PullRequest, branch: str) -> bool:
    return bool(pull.base and pull.base.ref == branch)


def _brought(pull: PullRequest) -> frozenset[str]:
    """What the branch has of it: its newest commit, or the one that was made of it."""
    head = pull.head.sha if pull.head else None
    return frozenset(each for each in (head, pull.merge_commit_sha if pull.merged else None) if each)
