"""How much one sync may do: what a plan takes away, held against the environment's budget. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.cd.guards import CONTAINERS, GroupKind, Guards, kind_name, within
from interlock.cd.objects import Body, uid
from interlock.cd.plan import WRITES, Action, Plan, PlanItem, Scope
from interlock.contract.canonical import canonical, digest
from interlock.contract.models import Budget
from interlock.contract.render import Identity
from interlock.contract.report import counted
from interlock.contract.secret_text import MASK
from interlock.contract.workloads import mapping

DELETES, SHARE = 10, 30
"""What may be deleted where an environment says nothing: so many objects, or percent where that is more."""
_GO = "would go with what is deleted"
_RESTARTED: frozenset[GroupKind] = frozenset(
    {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet")}
)


@dataclass(frozen=True)
class Weight:
    """What a plan does, in numbers. `kinds` counts deletions."""

    owned: int
    objects: int = 0
    deletes: int = 0
    dependants: int = 0
    replicas: int = 0
    restarts: int = 0
    kinds: Mapping[str, int] | None = None


def weigh(items: Iterable[PlanItem], live: Mapping[Identity, Body], *, owned: int) -> Weight:
    """`live` is all that was looked at: what goes with a deletion is found in it."""
    writes = tuple(item for item in items if item.action in WRITES)
    deleted = tuple(i for i in writes if (i.action == Action.PRUNE and not i.release) or i.recreated)
    changed = tuple(item for item in writes if item.action == Action.CHANGE and not item.recreated)
    return Weight(
        owned=owned,
        objects=len(writes),
        deletes=len(deleted),
        dependants=len(dependants(deleted, live)),
        replicas=sum(_replicas(live.get(item.identity)) for item in deleted) + sum(map(_scaled_down, changed)),
        restarts=sum(map(_restarts, changed)),
        kinds=Counter(kind_name(item.identity) for item in deleted),
    )


def dependants(deleted: Iterable[PlanItem], live: Mapping[Identity, Body]) -> frozenset[Identity]:
    """What the garbage collector takes along, what is in a namespace that goes, what is of a kind that goes."""
    items = tuple(deleted)
    if not items:
        return frozenset()
    named = {item.identity for item in items}
    containers = [i for i in named if (i.group, i.kind) in CONTAINERS]
    found = {identity for identity in live if any(within(identity, each, live) for each in containers)}
    gone = {item.uid for item in items} | {uid(live[identity]) for identity in found}
    owned = {identity: set(_owners(body)) for identity, body in live.items() if identity not in found}
    by_owner: dict[str, list[Identity]] = {}
    for identity, owners in owned.items():
        for owner in owners:
            by_owner.setdefault(owner, []).append(identity)
    going = list(gone)
    while going:  # each owner once, however long somebody made the chains
        owner = going.pop()
        for identity in by_owner.pop(owner, ()):
            owned[identity].discard(owner)
            if not owned[identity]:
                found.add(identity)
                going.append(uid(live[identity]))
    return frozenset(found - named)


def _owners(body: Body) -> frozenset[str]:
    return frozenset(owner["uid"] for owner in body["metadata"].get("ownerReferences") or ())


def _replicas(body: Body | None) -> int:
    """How many pods a workload has; none for what is no workload."""
    replicas = mapping(body, ("spec",)).get("replicas", 0)
    return replicas if isinstance(replicas, int) else 0


def _scaled_down(item: PlanItem) -> int:
    field = next((field for field in item.fields if field.path == "spec.replicas"), None)
    return max(0, _number(field.live, 0) - _number(field.desired, 1)) if field else 0


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


def _restarts(item: PlanItem) -> bool:
    identity = item.identity
    pods = (identity.group, identity.kind) in _RESTARTED
    return pods and any(field.path.startswith("spec.template.spec") or _annotated(field.path) for field in item.fields)


def _annotated(path: str) -> bool:
    """A changed label or annotation of the pods replaces them too."""
    return path.startswith("spec.template.metadata")


# held against ----------------------------------------------------------------------------------------


def excess(weight: Weight, guards: Guards) -> tuple[str, ...]:
    """What is over the budget, or over one of before, a line each, with the numbers."""
    lines = list(_excess(weight, guards.budget, "the budget is", removed=guards.removed))
    for each in guards.older:
        lines += _excess(weight, each, "the budget until this commit is", removed=guards.removed)
    return tuple(dict.fromkeys(lines))


def _excess(weight: Weight, budget: Budget, words: str, *, removed: bool) -> Iterable[str]:
    yield from _deletes(weight, budget, words, removed=removed)
    for one, many, has, most in (
        ("object would be written", "objects would be written", weight.objects, budget.objects),
        (f"dependant {_GO}", f"dependants {_GO}", weight.dependants, budget.dependants),
        ("pod would be taken away", "pods would be taken away", weight.replicas, budget.replicas),
        ("workload would replace its pods", "workloads would replace their pods", weight.restarts, budget.restarts),
    ):
        if most is not None and has > most:
            yield f"{counted(has, one, many)}; {words} {most}"
    for kind, most in sorted(budget.kinds.items()):
        if (has := (weight.kinds or {}).get(kind, 0)) > most:
            yield f"{counted(has, 'object')} of the kind {kind} would be deleted; {words} {most}"


def _deletes(weight: Weight, budget: Budget, words: str, *, removed: bool) -> Iterable[str]:
    what = f"{weight.deletes} of {weight.owned} objects would be deleted"
    if removed and weight.deletes:
        yield f"{what}: the environment is to be removed"
        return
    most, said = _most(budget, weight.owned)
    if weight.deletes > most:
        yield f"{what}; {words} {said}"


def _most(budget: Budget, owned: int) -> tuple[float, str]:
    """How many may be deleted, and in words."""
    count, share = budget.deletes, budget.share
    if count is None and share is None:
        count, share = DELETES, SHARE
    parts = [(float(count), str(count))] if count is not None else []
    if share is not None:
        parts.append((owned * share / 100, f"{share} %"))
    return max(most for most, _ in parts), " or ".join(words for _, words in parts)


@dataclass(frozen=True)
class Judged:
    """What is over the budget, what to say about it, and the mark that an allowance would name."""

    over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mark: str = ""
    covered: frozenset[str] = frozenset()
    """The changes that pass over the budget by the allowance, each by its own mark."""


def judged(items: Iterable[PlanItem], live: Mapping[Identity, Body], scope: Scope, *, owned: int) -> Judged:
    """A plan's changes held against the budget. `live` is all that was looked at.

    An allowance is of just these changes. When a sync of this commit has begun by it and was stopped, what is left of
    them goes on, though together it has another mark; what came after it is held against the budget by itself.
    """
    writes = tuple(item for item in items if item.action in WRITES)
    whole = mark(writes, scope.environment_id) if writes else ""
    allowed, covered = scope.guards.allowed, scope.covered
    lines = excess(weigh(writes, live, owned=owned), scope.guards)
    if allowed and allowed == whole:
        covered |= {_own_mark(item, scope.environment_id) for item in writes}
    later = tuple(item for item in writes if _own_mark(item, scope.environment_id) not in covered) if covered else ()
    over = excess(weigh(later, live, owned=owned), scope.guards) if covered else lines
    if over:
        told = "`allow` is of other changes than these"
        told = "what came after the changes that `allow` is of is not allowed" if covered else told
        return Judged((*over, told) if allowed else over, (), whole)
    if lines:
        return Judged((), tuple(f"allowed by environment.yaml: {line}" for line in lines), whole, covered)
    return Judged((), ("`allow` is not needed: remove it",) if allowed and not covered else (), whole, covered)


def allowance(plan: Plan) -> str:
    """The line of environment.yaml that lets this plan's changes pass over the budget, but for the reason."""
    return f'allow: {{changes: "{plan.mark}", reason: "…"}}'


def mark(items: Iterable[PlanItem], environment_id: str) -> str:
    """What an allowance names: the same changes of the same objects, whatever the commit, have the same mark."""
    rows = sorted(_marked(item) for item in items if item.action in WRITES)
    return digest(canonical([environment_id, rows])).removeprefix("sha256:")[:16]


def _own_mark(item: PlanItem, environment_id: str) -> str:
    """Of one change; as long as that of all."""
    return mark([item], environment_id)


def _marked(item: PlanItem) -> list[Any]:
    """A masked value looks different in every run: the version of the object stands for it."""
    masked = any((field.live or field.desired or "").startswith(MASK) for field in item.fields)
    fields = [[field.path, *(() if masked else (field.live, field.desired))] for field in item.fields]
    how = ["recreated"] if item.recreated else []
    return [*item.identity, item.action.value, item.uid, item.release, item.version if masked else "", fields, *how]
