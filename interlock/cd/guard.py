"""What weakened protection and missing freshness mean for the environments of a host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interlock.contract.freshness import Verdict
from interlock.contract.protection import Weakening
from interlock.contract.report import Report, Table
from interlock.contract.repository import Repository

PROTECTION, FRESHNESS = "branch-protection", "freshness"
"""The causes of freezes that are set here."""
UNASKED_HOURS = 24
"""How long a forge may not answer before that is taken for weakened."""


def concerned(repository: Repository, name: str, *, environment_repository: str, hosted: Iterable[str]) -> list[str]:
    """The environments that a repository's branch can change, of those that this host deploys."""
    if name == environment_repository:
        return list(hosted)
    bound = {each for binding in repository.bindings if binding.source == name for each in binding.environments}
    return [each for each in hosted if each in bound]


def weakened(name: str, found: Sequence[Weakening]) -> str:
    """Why a repository's protection freezes; empty when it does not."""
    open_ = [each for each in found if not each.accepted]
    return f"{name}: {', '.join(f'{each.rule} ({each.found})' for each in open_)}" if open_ else ""


def unasked(name: str, *, hours: float | None) -> str:
    """Why it freezes that a forge was not heard of for so many hours (None: never); empty when it does not yet."""
    if hours is not None and hours <= UNASKED_HOURS:
        return ""
    return f"{name}: the forge could not be asked for more than {UNASKED_HOURS} hours"


def freshness_report(verdict: Verdict) -> Report:
    titles = {
        "fresh": "The git server gives the newest commit",
        "stale": "Nobody says that the git server gives the newest commit",
        "withheld": "The git server withholds commits",
    }
    word = "frozen" if verdict.freezes else "deployed"
    table = Table.of("state", "what was found", "new commits are", rows=[(verdict.state, verdict.said, word)])
    data = {"state": verdict.state, "said": verdict.said, "freezes": bool(verdict.freezes)}
    return Report("freshness", titles[verdict.state], tables=(table,), data=data)
