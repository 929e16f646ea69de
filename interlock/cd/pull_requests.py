"""Open pull requests against the environment repository's branch: which are planned now, and which comment is ours."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from interlock.contract.canonical import canonical, digest

MAX_LISTED = 1_000
"""How many requests, and comments of each, are looked through."""
MOST_AT_ONCE = 20
"""How many requests one run plans; the others come with the next."""


@dataclass(frozen=True)
class PullRequest:
    """An open one; a merge request, where it is called so."""

    number: int
    head: str
    """The commit that the forge says it is at. What is planned is the commit that was fetched."""
    draft: bool = False
    fork: bool = False
    """Its branch lies in another repository."""


@dataclass(frozen=True)
class Comment:
    id: int
    author: int
    """By the forge's own number: names change hands."""
    body: str


@dataclass(frozen=True)
class Account:
    """Whose token it is."""

    id: int
    name: str
    pushes: bool
    """Whether it could write to the repository."""


class Commenter(Protocol):
    """One repository, for one who may read it and comment. Every call may raise ForgeError, and may be made twice
    without harm but for `add`, before which one looks whether it is there.
    """

    def account(self) -> Account: ...

    def open_requests(self, base: str) -> tuple[PullRequest, ...]:
        """Those against the branch, newest first."""

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Oldest first."""

    def add(self, number: int, body: str) -> None: ...

    def edit(self, number: int, comment: int, body: str) -> None: ...


# our comment -----------------------------------------------------------------------------------------


def marker(fingerprint: str) -> str:
    """What the comment of one CD host begins with, by its key: hosts of one account do not take each other's."""
    return f"<!-- interlock-plan: {digest(fingerprint.encode()).removeprefix('sha256:')[:16]} -->"


def ours(comments: Iterable[Comment], account: Account, mark: str) -> Comment | None:
    """The first that begins with our mark and is by our account: anybody can write the mark."""
    return next((each for each in comments if each.author == account.id and each.body.startswith(mark)), None)


# which, and when -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What was planned last for a request."""

    head: str
    ground: str
    at: float
    """In seconds since 1970."""


def ground(base: str, marks: Mapping[str, object]) -> str:
    """Stands for what a request's plan rests on besides its head and the cluster: the branch, what is deployed."""
    return digest(canonical([base, {name: marks[name] for name in sorted(marks)}]))


def due(
    found: Sequence[PullRequest], told: Mapping[int, Told], *, ground: str, now: float, again_seconds: float
) -> tuple[PullRequest, ...]:
    """Those to be planned now: what was never planned first, then what waits longest.

    At once when the request or what it rests on has moved; else rarely, since only a plan tells whether the cluster
    has changed. A draft waits until its author says that it is ready.
    """

    def moved(each: PullRequest) -> bool:
        last = told.get(each.number)
        if last is None or (last.head, last.ground) != (each.head, ground):
            return True
        # The clock may have been set back.
        return not each.fork and not 0 <= now - last.at < again_seconds

    def waits(each: PullRequest) -> tuple[float, int]:
        last = told.get(each.number)
        return (last.at if last else 0.0), each.number

    return tuple(sorted((each for each in found if not each.draft and moved(each)), key=waits)[:MOST_AT_ONCE])


def remaining(told: Mapping[int, Told], open_: Collection[PullRequest]) -> dict[int, Told]:
    """Of requests that are open still."""
    numbers = {each.number for each in open_}
    return {number: last for number, last in told.items() if number in numbers}


def write_told(told: Mapping[int, Told]) -> bytes:
    return json.dumps({str(number): asdict(last) for number, last in sorted(told.items())}).encode()


def read_told(data: bytes) -> dict[int, Told]:
    """Nothing when it is not as it was written: everything is looked at once more then."""
    try:
        read = json.loads(data)
        return {
            int(number): Told(str(last["head"]), str(last["ground"]), float(last["at"]))
            for number, last in read.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
