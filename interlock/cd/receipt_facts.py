"""What a receipt says of a decision: who signed its commits, what it releases, which objects it changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from interlock.cd import receipts
from interlock.cd.objects import subject
from interlock.cd.plan import Plan, PlanItem
from interlock.cd.receipts import Agreed, Changed, Entry, Released, SignedCommit
from interlock.contract.approvals import Question
from interlock.contract.repository import Environment
from interlock.contract.verification import Verified

T = TypeVar("T")
_HISTORY = frozenset({"intent", "result"})


def facts(
    environment: Environment, commit: str, verified: Sequence[Verified], items: Iterable[PlanItem]
) -> dict[str, object]:
    """The fields of a statement, each within its limit; `more` counts what is beyond."""
    more: dict[str, int] = {}
    changed = [Changed(action=item.action.value, object=subject(item.identity)) for item in items]
    return {
        "commit": commit,
        "commits": _bounded("commits", _commits(verified), receipts.MOST_COMMITS, more),
        "releases": _bounded("releases", releases(environment), receipts.MOST_RELEASES, more),
        "objects": _bounded("objects", changed, receipts.MOST_OBJECTS, more),
        "more": more,
    }


def _bounded(name: str, found: Sequence[T], most: int, more: dict[str, int]) -> tuple[T, ...]:
    if len(found) > most:
        more[name] = len(found) - most
    return tuple(found[:most])


def _commits(verified: Sequence[Verified]) -> list[SignedCommit]:
    return [SignedCommit(commit=each.commit, signer=each.signer, key=each.key) for each in reversed(verified)]


def releases(environment: Environment) -> list[Released]:
    """Every component of the environment that was released, with the digest of its evidence."""
    return [
        Released(
            application=application.name,
            component=name,
            image=entry.image,
            source=entry.source,
            evidence=entry.evidence,
        )
        for application in environment.applications.values()
        if application.release
        for name, entry in sorted(application.release.components.items())
    ]


def agreed(question: Question | None) -> tuple[Agreed, ...]:
    """The approvals that count for what is deployed: sound, and by nobody who made the change."""
    if question is None:
        return ()
    found = [each for each in question.approvals if each.sound and each.approver not in question.authors]
    made = (
        Agreed(
            person=each.approver,
            statement=question.reads,
            until=each.ends,
            review=each.path if each.source == "review" else "",
        )
        for each in found
    )
    return tuple(dict.fromkeys(made))[: receipts.MOST_COMMITS]


def told(plan: Plan) -> list[PlanItem]:
    """Of a plan that was held back: what it would have changed, and what stood in its way."""
    return [*plan.writes, *plan.stops]


def rolled_back(now: Iterable[Released], history: Collection[Entry]) -> tuple[str, ...]:
    """The components whose image goes back to one that the environment had, and left, before. History is oldest first.

    Only what a receipt says counts: of longer ago than the history nothing is known.
    """
    had: dict[tuple[str, str], list[str]] = {}
    for entry in history:
        if entry.statement.kind == "result" and entry.statement.outcome == "healthy":
            for each in entry.statement.releases:
                had.setdefault((each.application, each.component), []).append(each.image)
    return tuple(
        f"{each.application}/{each.component} to {each.image}"
        for each in now
        if (images := had.get((each.application, each.component))) and each.image != images[-1] and each.image in images
    )


def open_intent(tail: Iterable[Entry]) -> Entry | None:
    """The newest intent, while no result has closed it."""
    found = receipts.open_intents(tail)
    return found[-1] if found else None


def numbered(tail: Iterable[Entry]) -> Mapping[int, str]:
    """The digests of receipts by their numbers, for what remembers one of them."""
    return {entry.number: entry.digest for entry in tail}


def signers_told(entries: Iterable[Entry]) -> Mapping[str, str]:
    """By commit: whose signature it had when CD verified it."""
    return {each.commit: each.signer for entry in entries for each in entry.statement.commits}
