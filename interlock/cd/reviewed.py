"""A plan that somebody looked at, as `interlock plan --output json` wrote it, held against the plan of the moment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from interlock.cd.objects import subject
from interlock.cd.plan import Plan
from interlock.cd.reports import plan_data
from interlock.contract.render import Identity
from interlock.errors import Blocked, FormatError


@dataclass(frozen=True)
class Reviewed:
    """`lines` tell each object that is not as it should be, and each of its fields."""

    environment: str
    commit: str
    digest: str
    lines: tuple[str, ...]


class _Field(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    path: str
    live: str | None
    desired: str | None


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    group: str
    kind: str
    namespace: str
    name: str
    action: str
    fields: tuple[_Field, ...] = ()


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    environment: str
    commit: str
    digest: str
    items: list[_Item]


def read(text: str, *, path: str) -> Reviewed:
    """The plan in the document that the command wrote; FormatError when there is none."""
    try:
        reports = TypeAdapter(list[dict[str, Any]]).validate_json(text)
        data = _Data.model_validate_json(json.dumps(next(each["data"] for each in reports if each["report"] == "plan")))
    except (ValidationError, StopIteration, KeyError) as error:
        raise FormatError(
            f"this is not a plan: {type(error).__name__}",
            path=path,
            hint="make one: interlock plan ENV --output json > FILE",
        ) from None
    return Reviewed(data.environment, data.commit, data.digest, _lines(data.items))


def _lines(items: Iterable[_Item]) -> tuple[str, ...]:
    return tuple(line for item in items if item.action != "unchanged" for line in _told(item))


def _told(item: _Item) -> Iterable[str]:
    what = f"{item.action} {subject(Identity(item.group, item.kind, item.namespace, item.name))}"
    yield what
    for field in item.fields:
        yield f"{what}: {field.path}: {_value(field.live)} → {_value(field.desired)}"


def _value(value: str | None) -> str:
    return "nothing" if value is None else value


def require_same(reviewed: Reviewed, plan: Plan) -> None:
    """Blocked, with what moved, unless the plan of the moment is the one that was looked at."""
    if reviewed.digest == plan.digest:
        return
    raise Blocked(
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
    now = _lines(_Data.model_validate_json(json.dumps(plan_data(plan))).items)
    yield from (f"new: {line}" for line in now if line not in reviewed.lines)
    yield from (f"no more: {line}" for line in reviewed.lines if line not in now)
