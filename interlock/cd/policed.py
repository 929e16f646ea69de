"""A plan held to the rules: what would be written and may not be is blocked, and the rest of what rules say is noted.

Judged is only what a commit would change. What lives already and stays as it is, and what drift is undone to, was let
in by the rules of its day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract.render import Identity, Manifest
from interlock.contract.validation import Violation


def to_judge(plan: Plan, manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The manifests that the plan would write."""
    written = {item.identity for item in plan.having(Action.CREATE, Action.CHANGE) if item.applied}
    return tuple(each for each in manifests if each.identity in written)


def policed(plan: Plan, violations: Iterable[Violation]) -> Plan:
    """The same plan, in which nothing is written that a rule denies."""
    denied: dict[Identity, list[str]] = {}
    noted: list[str] = []
    for each in violations:
        if each.denies:
            denied.setdefault(each.identity, []).append(each.reason)
        else:
            noted.append(str(each))
    items = tuple(_blocked(item, denied) for item in plan.items)
    return replace(plan, items=items, notes=(*plan.notes, *noted))


def _blocked(item: PlanItem, denied: Mapping[Identity, list[str]]) -> PlanItem:
    reasons = denied.get(item.identity)
    return replace(item, action=Action.BLOCKED, reason="; ".join(reasons)) if reasons else item


def versions_differ(wanted: str, served: str) -> tuple[str, ...]:
    """A note when the environment's `kubernetes` is not the minor version of its server, such as `v1.37.0`."""
    minor = ".".join(served.removeprefix("v").split(".")[:2])
    if not wanted or wanted == minor:
        return ()
    return (f"the environment says Kubernetes {wanted}, by which CI validates, and its server is {served}",)
