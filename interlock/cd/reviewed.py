"""A plan that somebody looked at, as `interlock plan --output json` wrote it, held against the plan of the moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.cd import plan_file
from interlock.cd.objects import subject
from interlock.cd.plan import Plan
from interlock.cd.plan_file import ChangedField, Item, PlanFile
from interlock.contract.render import Identity
from interlock.contract.secret_text import MASK
from interlock.errors import PlanMoved


@dataclass(frozen=True)
class Reviewed:
    """`lines` tell each object that is not as it should be, and each of its fields."""

    environment: str
    commit: str
    digest: str
    lines: tuple[str, ...]


def read(text: str, *, path: str) -> Reviewed:
    """The plan in the document that the command wrote; FormatError when there is none."""
    found = plan_file.read(text, path=path)
    return Reviewed(found.environment, found.commit, found.digest, _lines(found))


def _lines(plan: PlanFile) -> tuple[str, ...]:
    return tuple(line for item in plan.items for line in _told(item))


def _told(item: Item) -> Iterable[str]:
    what = f"{item.action} {subject(Identity(item.group, item.kind, item.namespace, item.name))}"
    yield f"{what} (the object {item.uid})" if item.uid else what
    for field in item.fields:
        # A mask tells nothing from one plan to another; the object's version does.
        version = f" (of version {item.version or 'none'})" if field.masked else ""
        yield f"{what}: {field.path}: {_value(field, field.live)} → {_value(field, field.desired)}{version}"


def _value(field: ChangedField, value: str | None) -> str:
    if value is None:
        return "nothing"
    return MASK if field.masked else value


def require_same(reviewed: Reviewed, plan: Plan) -> None:
    """PlanMoved, with what moved, unless the plan of the moment is the one that was looked at."""
    if reviewed.digest == plan.digest:
        return
    raise PlanMoved(
        f"{plan.environment}: the plan has moved since it was looked at; nothing was written",
        reasons=tuple(_moved(reviewed, plan)),
        hint=f"look at a new one: interlock plan {plan.environment}",
    )


def _moved(reviewed: Reviewed, plan: Plan) -> Iterable[str]:
    if reviewed.environment != plan.environment:
        yield f"it is a plan of environment {reviewed.environment}"
        return
    if reviewed.commit != plan.commit:
        yield f"the branch is at {plan.commit[:12]} now, and was at {reviewed.commit[:12]}"
    now = _lines(plan_file.of(plan))
    yield from (f"new: {line}" for line in now if line not in reviewed.lines)
    yield from (f"no more: {line}" for line in reviewed.lines if line not in now)
