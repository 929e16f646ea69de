"""A request that a forge squashed into one commit and signed: who vouches for it. Pure.

The forge's signature says little: some forges sign with one key for all of their projects. What counts is that the
forge made just this commit of a request, that it holds just the files of the request's newest commit, which are read
from that commit itself, and who has reviewed that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.contract import commit as commits
from interlock.contract import effects, reviews, signature
from interlock.contract.commit import Parsed, RawCommit
from interlock.contract.reviews import Request
from interlock.contract.verification import Trust
from interlock.errors import Refused

RULE = "squash"
_HINT = "a person pushes the request's commits as they are, signed, after the branch was brought back"


@dataclass(frozen=True)
class Squash:
    """What a forge says of a request, and what git has of it."""

    request: Request
    tree: str
    """Of the request's newest commit."""
    onto: bool
    """Whether the request's branch had all that was on the branch before."""
    commits: tuple[RawCommit, ...]
    """Those of the request that the branch did not have."""


def vouching(raw: RawCommit, squash: Squash, trust: Trust) -> frozenset[str]:
    """Who has reviewed it and is none of its authors; Refused when it is no such request, or nobody has."""
    request, parsed = squash.request, commits.parse(raw.data)
    if request.squashed != raw.id:
        raise _refused(f"the forge made {request.squashed[:12] or 'no commit'} of request {request.number}, not this")
    if not squash.onto:
        raise _refused(
            f"request {request.number} had not what was on the branch before it",
            hint="let the forge ask that requests are up to date before they are merged",
        )
    if parsed.tree != squash.tree:
        raise _refused(
            f"it does not hold the files of request {request.number} at {request.head[:12]}, just as they are"
        )
    wrote = authors(raw, squash, trust)
    accounts, found, why = reviews.accounts_of(trust.signers), set[str](), list[str]()
    for each in request.reviews:
        person = accounts.get(reviews.known(each.by), "")
        problem = reviews.unsound(each, request, person, accounts) or (
            f"{person} is one of its authors" if person in wrote else ""
        )
        if problem:
            why.append(problem)
        else:
            found.add(person)
    if not found:
        raise _refused(
            f"nobody's review of request {request.number} vouches for it: {'; '.join(why) or 'there is none'}"
        )
    return frozenset(found)


def authors(raw: RawCommit, squash: Squash, trust: Trust) -> frozenset[str]:
    """Who opened the request, and who signed a commit of it or is named by one: a name can only take a voice away."""
    accounts, author = reviews.accounts_of(trust.signers), squash.request.author
    opened = {accounts.get(reviews.known(author), "")} - {""} if author else set()
    people = {each.name for each in trust.signers}
    fingerprints = {key: signer.name for key, signer in trust.by_fingerprint.items()}
    written = [effects.Change(each, parsed) for each, parsed in _parsed((*squash.commits, raw))]
    named = (effects.named(each, people, fingerprints) for each in written)
    return frozenset(opened).union(*named, *(_signed_by(each.parsed, trust) for each in written[:-1]))


def _parsed(found: Iterable[RawCommit]) -> Iterable[tuple[RawCommit, Parsed]]:
    return ((each, commits.parse(each.data)) for each in found)


def _signed_by(parsed: Parsed, trust: Trust) -> frozenset[str]:
    """Nobody for a commit without a signature that is known: the request itself need not be signed."""
    try:
        return frozenset({signature.verify(parsed.signature or "", parsed.payload, trust.holders).signer.name})
    except Refused:
        return frozenset()


def _refused(message: str, *, hint: str = _HINT) -> Refused:
    return Refused(message, rule=RULE, hint=hint)
