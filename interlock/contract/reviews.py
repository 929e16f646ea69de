"""Reviews on a forge: which of them are a person's agreement to just what is asked about. Pure.

What a forge says is its word alone. The commits that a review is about are named by their ids, and so cannot be others
than it says; who reviewed, and when, nothing else tells. docs/approvals.md says what a forge that lies may do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.contract.models import Account, Signer

_CLOCKS_DIFFER = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Review:
    """The newest word of one account about a request, where it is an approval."""

    by: Account
    commit: str
    """What the request's branch ended in when it was given. Empty: the forge does not tell."""
    given: dt.datetime | None
    """None: the forge does not tell that either."""
    problem: str = ""
    """Why the forge itself does not take it as standing; empty when it does."""


@dataclass(frozen=True)
class Request:
    """A pull or merge request into the branch that is deployed from."""

    number: int
    author: Account | None
    """None: the account is no more."""
    head: str
    """The newest commit of its branch."""
    commits: frozenset[str]
    """What it is made of."""
    reviews: tuple[Review, ...]
    squashed: str = ""
    """The one commit that the forge made of it on the branch; empty when it made none."""


@dataclass(frozen=True)
class Found:
    """What a forge says of some commits."""

    requests: tuple[Request, ...] = ()
    problem: str = ""
    """Why nothing of it counts: the forge could not be asked."""


@dataclass(frozen=True)
class Range:
    """What lies between what is deployed and what is asked about, oldest first."""

    line: tuple[str, ...]
    changing: tuple[str, ...]
    """The commits that change what the environment reads."""
    squashed: frozenset[str] = frozenset()
    """The commits of the line that were found to hold just what the request has that a forge made them of."""


@dataclass(frozen=True)
class Judged:
    """One review, and why it does not count; empty when it does."""

    request: int
    account: str
    person: str
    """Whose the account is; empty when it is nobody's."""
    ends: dt.datetime | None
    problem: str


Accounts = Mapping[Account, str]
"""Whose each account is, at one commit."""


def accounts_of(signers: Iterable[Signer]) -> Accounts:
    return {known(account): each.name for each in signers for account in each.accounts}


def known(account: Account) -> Account:
    """The account in the one form in which two are compared."""
    return account.model_copy(update={"forge": account.forge.rstrip("/")})


def shown(account: Account) -> str:
    return f"{account.name} (id {account.id})"


def judged(
    requests: Iterable[Request], range_: Range, *, accounts: Sequence[Accounts], hours: int, now: dt.datetime
) -> tuple[Judged, ...]:
    """Of each review, whether it counts: by somebody else than the request's author, of what the branch has now.

    A reviewer has seen what the request is made of and nothing else. So somebody counts when the requests that they
    reviewed have, together, every commit that changes the environment. `accounts` are those of each commit that is
    asked, the new one first.
    """
    lasts = dt.timedelta(hours=hours)
    found, seen = list[tuple[Judged, str]](), dict[str, set[str]]()
    for request in requests:
        covered, why = _covered(request, range_)
        for review in request.reviews:
            person = accounts[0].get(known(review.by), "")
            ends = review.given + lasts if review.given else None
            problem = unsound(review, request, person, *accounts) or why or _out_of_time(review.given, ends, now)
            found.append((Judged(request.number, shown(review.by), person, ends, problem), person))
            if not problem:
                seen.setdefault(person, set()).update(covered)
    return tuple(_whole(each, seen.get(person, set()), range_) for each, person in found)


def unsound(review: Review, request: Request, person: str, *accounts: Accounts) -> str:
    """Why it is no approval of the request's newest commit by a person who is not its author; empty when it is one."""
    return (
        review.problem
        or _unknown(review.by, person, accounts)
        or _own(request, person, accounts)
        or _older(review, request)
    )


def _covered(request: Request, range_: Range) -> tuple[frozenset[str], str]:
    """The commits of the line that the request brought, or why it is none of theirs.

    They are taken from the line itself, from the request's head back, so that a forge cannot add any to them.
    """
    if request.squashed in range_.squashed:
        return frozenset({request.squashed}), ""
    if request.head not in range_.line:
        return frozenset(), f"is of {request.head[:12]}, which is not what the branch has"
    covered = set[str]()
    for commit in reversed(range_.line[: range_.line.index(request.head) + 1]):
        if commit not in request.commits:
            break
        covered.add(commit)
    return frozenset(covered), ""


def _unknown(by: Account, person: str, accounts: Sequence[Accounts]) -> str:
    if not person:
        return f"the account {shown(by)} is nobody's in trust/signers.yaml"
    if any(each.get(known(by)) != person for each in accounts):
        return f"{person} did not have the account {shown(by)} at every commit whose rule holds"
    return ""


def _own(request: Request, person: str, accounts: Sequence[Accounts]) -> str:
    """Of a request whose author nobody knows it cannot be said that the reviewer is somebody else."""
    authors = [each.get(known(request.author)) for each in accounts] if request.author else [None]
    if authors[0] is None:
        who = shown(request.author) if request.author else "whose account is gone"
        return f"the request's author, {who}, is nobody in trust/signers.yaml, and may be the reviewer"
    return "the request is the reviewer's own" if person in authors else ""


def _older(review: Review, request: Request) -> str:
    if not review.commit:
        return "the forge does not tell which commit was reviewed"
    if review.commit != request.head:
        return f"is of {review.commit[:12]}, and {request.head[:12]} was pushed afterwards"
    return ""


def _out_of_time(given: dt.datetime | None, ends: dt.datetime | None, now: dt.datetime) -> str:
    if given is None or ends is None:
        return "the forge does not tell when it was given"
    if ends <= now:
        return f"ended at {ends:%Y-%m-%dT%H:%M:%SZ}"
    return f"is of {given:%Y-%m-%dT%H:%M:%SZ}, which is still to come" if given > now + _CLOCKS_DIFFER else ""


def _whole(review: Judged, covered: set[str], range_: Range) -> Judged:
    """A review that is no good by itself, as it is; any other, with what its giver has not seen."""
    if review.problem:
        return review
    unseen = next((each for each in range_.changing if each not in covered), None)
    if unseen is None:
        return review
    problem = f"{unseen[:12]} changes the environment too, and is in no request that {review.person} reviewed"
    return Judged(review.request, review.account, review.person, review.ends, problem)
