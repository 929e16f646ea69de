"""The forge of the environment repository: which door tells of its reviews."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Protocol, TypeVar

from interlock.contract.forge import ForgeAccount, failed
from interlock.contract.reviews import Found, Range, Request
from interlock.errors import ForgeError
from tasks.common.forges import connected, insist, read_token

T = TypeVar("T")
MOST_COMMITS = 50
"""Of how many commits a forge is asked at once."""
MOST_LISTED = 1000


class Door(Protocol):
    """One repository. Every call may raise ForgeError, and may be made twice without harm."""

    def requests(self, branch: str, range_: Range) -> tuple[Request, ...]:
        """The requests into the branch that brought the commits that change something."""
        ...


def found(account: ForgeAccount, branch: str, range_: Range) -> Found:
    """What the forge says; that it could not be asked is an answer too, by which nothing counts."""
    try:
        return Found(requests(account, branch, range_))
    except ForgeError as error:
        return Found(problem=f"the forge could not be asked: {error.message}")


def requests(account: ForgeAccount, branch: str, range_: Range) -> tuple[Request, ...]:
    """What the forge says; ForgeError when it says nothing."""
    if len(range_.changing) > MOST_COMMITS:
        said = f"{len(range_.changing)} commits are more than the {MOST_COMMITS} that are asked for"
        raise failed(account, "read the reviews", status=0, said=said)
    door = _opened(account)
    return insist(account, lambda: door.requests(branch, range_))


def paged(account: ForgeAccount, page: Callable[[int], list[T]]) -> list[T]:
    """All of them, until an empty page; ForgeError when there are so many that the rest would go unread."""
    listed = list[T]()
    for number in count(1):
        got = page(number)
        if not got:
            return listed
        listed += got
        if len(listed) >= MOST_LISTED:
            raise failed(account, "read the reviews", status=0, said=f"there are more than {MOST_LISTED}")
    raise AssertionError("counting has no end")


def _opened(account: ForgeAccount) -> Door:
    door: Door = connected(__package__, account, read_token(account))
    return door
