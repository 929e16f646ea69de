"""When an image that an earlier commit built will do for a commit with the same inputs, and where it stands already."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from interlock.ci.known import proofs
from interlock.ci.rescan import is_old, recorded
from interlock.ci.targets import Target
from interlock.contract import evidence
from interlock.contract.evidence import Evidence
from interlock.contract.models import GateRules
from interlock.contract.repository import Repository
from interlock.errors import FormatError

_WANTED = {
    evidence.PROVENANCE: "provenance",
    evidence.TEST_RESULT: "test result",
    evidence.VULNERABILITIES: "scan",
    evidence.REFERENCE: "bill of materials",
    evidence.GATE_VERDICT: "verdict",
}


def is_told(repository: Repository, bound: Iterable[Target], *, image: str, key: str) -> bool:
    """Whether evidence of what is released says that the image was built from the inputs that the key stands for."""
    return any(_tells(repository, each, image, key) for each in bound)


def _tells(repository: Repository, target: Target, image: str, key: str) -> bool:
    if target.released is None or target.released.image != image:
        return False
    try:
        told = [each for proof in proofs(repository.tree, target) for each in proof.predicates(evidence.PROVENANCE)]
        return bool(told) and all(each["buildDefinition"]["internalParameters"]["buildKey"] == key for each in told)
    except (FormatError, LookupError, TypeError):
        return False


def stale(repository: Repository, target: Target, *, image: str, tests: str, now: dt.datetime) -> str:
    """Why what stands in an environment must be judged again for an identical tree; empty when it need not be.

    `image` is what the tree's inputs have led to before, by digest; `tests` stands for how it is tested now.
    """
    if target.released is None:
        return "it is not released there"
    if target.released.image != image:
        return "another image is released there"
    rules = repository.gate.environments.get(target.environment, repository.gate.rules)
    try:
        proven = tuple(proofs(repository.tree, target))
        return _incomplete(proven) or _tested_otherwise(proven, tests) or _aged(proven, rules, now)
    except (FormatError, LookupError, ValueError, TypeError, AttributeError):
        return "its evidence is not understood"


def _incomplete(proven: Sequence[Evidence]) -> str:
    told = {each.predicate_type for proof in proven for each in proof.statements}
    if missing := [name for kind, name in _WANTED.items() if kind not in told]:
        return f"its evidence has no {', no '.join(missing)}"
    if any(each.get("result") != "PASSED" for proof in proven for each in proof.predicates(evidence.TEST_RESULT)):
        return "its evidence tells of failed tests"
    return "" if recorded(proven).clean else "its last verdict is not clean"


def _tested_otherwise(proven: Sequence[Evidence], tests: str) -> str:
    told = {
        each["buildDefinition"]["internalParameters"].get("tests")
        for proof in proven
        for each in proof.predicates(evidence.PROVENANCE)
    }
    return "" if told == {tests} else "it was tested otherwise"


def _aged(proven: Sequence[Evidence], rules: GateRules, now: dt.datetime) -> str:
    if is_old(recorded(proven), rules, now):
        return f"its verdict is older than {rules.verdict_hours} h"
    updated = [day for proof in proven for day in _databases(proof)]
    if updated and now - max(updated) > dt.timedelta(hours=rules.database_hours):
        return f"the vulnerabilities known to its last scan are older than {rules.database_hours} h"
    return ""


def _databases(proof: Evidence) -> Iterable[dt.datetime]:
    """How new each database was. One that the host pins is as old as it is, on purpose."""
    for predicate in proof.predicates(evidence.VULNERABILITIES):
        match predicate.get("scanner"):
            case {"db": {"pinned": True}}:
                yield dt.datetime.max.replace(tzinfo=dt.UTC)
            case {"db": {"version": str(version)}}:
                yield dt.datetime.fromisoformat(version)
