"""A plan as JSON: what `interlock plan --output json` writes, `interlock sync --plan` reads, and others may.

The document is a list of reports, of which one is the plan. Its form has a number of its own: a reader that does not
know it refuses the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from interlock.cd.plan import Action, FieldChange, FieldKind, Plan, PlanItem
from interlock.contract.template import Origin
from interlock.errors import FormatError

FORMAT: Literal[1] = 1
_MAKE = "make one: interlock plan ENV --output json > FILE"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Model):
    """A line of a file in the environment repository, counted from 1."""

    path: str
    line: int


class Made(Place):
    """The line that makes a part of an object."""

    expression: str | None = None
    """Of a template; null for literal text. Part of a text stands in braces."""


class Value(Place):
    """A value that the expression reads, and where it is given."""

    name: str


class ChangedField(_Model):
    """One field. `live` and `desired` are texts for people, null where there is no such field."""

    path: str
    live: str | None
    desired: str | None
    kind: FieldKind
    """change: a commit changes it. drift: it is put back. removed: nobody declared it, and it goes. foreign: nobody
    declared it, and it is only told of. allowed: a rule leaves it to its owner."""
    masked: bool
    """Whether both values are masks: equal ones of one plan stand for equal values, those of two plans for nothing."""
    manager: str
    """Who owns the field in the cluster, by what the cluster says; empty when it says nothing."""
    operation: str
    """Apply or Update."""
    time: str
    """UTC."""
    origin: Made | None
    """Null when no line of Git makes the field."""
    values: tuple[Value, ...]


class Item(_Model):
    """One object that is not as Git says."""

    group: str
    kind: str
    namespace: str
    name: str
    application: str
    """Empty for what no application has."""
    action: Action
    reason: str
    drift: bool
    """No commit explains it: somebody changed the cluster."""
    kept: bool
    """Git dropped it, and it stays the environment's; its action is foreign."""
    uid: str
    version: str
    """UID and resourceVersion of the live object that was looked at; empty when there is none."""
    manager: str
    time: str
    former: tuple[str, ...]
    """The managers that the object is, or could be, taken over from."""
    origin: Made | None
    fields: tuple[ChangedField, ...]


class PlanFile(_Model):
    """A plan. Objects that are as they should be are only counted."""

    format: Literal[1] = FORMAT
    environment: str
    commit: str
    digest: str
    """Over the objects and their changes at this commit; nothing of a Secret's values is in it."""
    counts: dict[str, int]
    """Objects by action, the unchanged ones too."""
    standings: dict[str, int]
    """Objects that live in the environment's namespaces: managed, derived (made with the namespace, or by a controller
    from what is managed), allowed, foreign."""
    notes: tuple[str, ...]
    blocked: dict[str, str]
    """Applications that stay as they are, with the reason."""
    over: tuple[str, ...]
    """What is over the environment's budget: nothing is written then."""
    mark: str
    """Names these changes for `allow`; empty when there are none."""
    items: tuple[Item, ...]


class PlanReport(_Model):
    report: Literal["plan"]
    title: str
    data: PlanFile


class OtherReport(_Model):
    """What else the command had to say."""

    report: Annotated[str, Field(json_schema_extra={"not": {"const": "plan"}})]
    title: str
    data: Any


_DOCUMENT: TypeAdapter[list[PlanReport | OtherReport]] = TypeAdapter(list[PlanReport | OtherReport])


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    found = _DOCUMENT.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Plan of Interlock, format 1", **found}


def of(plan: Plan) -> PlanFile:
    """What of a plan goes into the document."""
    return PlanFile(
        environment=plan.environment,
        commit=plan.commit,
        digest=plan.digest,
        counts=plan.counts,
        standings=dict(plan.standings),
        notes=plan.notes,
        blocked=dict(plan.blocked),
        over=plan.over,
        mark=plan.mark,
        items=tuple(_item(item) for item in plan.items if item.action != Action.UNCHANGED),
    )


def _item(item: PlanItem) -> Item:
    return Item(
        **item.identity._asdict(),
        application=item.application,
        action=item.action,
        reason=item.reason,
        drift=item.drift,
        kept=item.kept,
        uid=item.uid,
        version=item.version,
        manager=item.manager,
        time=item.time,
        former=item.former,
        origin=_made(item.origin),
        fields=tuple(map(_field, item.fields)),
    )


def _field(field: FieldChange) -> ChangedField:
    return ChangedField(
        path=field.path,
        live=field.live,
        desired=field.desired,
        kind=field.kind,
        masked=field.masked,
        manager=field.manager,
        operation=field.operation,
        time=field.time,
        origin=_made(field.origin),
        values=tuple(Value(name=each.name, path=each.path, line=each.line) for each in field.values),
    )


def _made(origin: Origin | None) -> Made | None:
    return Made(path=origin.path, line=origin.line, expression=origin.expression) if origin else None


def read(text: str, *, path: str) -> PlanFile:
    """The plan in a document that the command wrote; FormatError when there is none, or its form is another."""
    try:
        reports = TypeAdapter(list[dict[str, Any]]).validate_json(text)
        data = next(each["data"] for each in reports if each.get("report") == "plan")
    except (ValidationError, StopIteration, KeyError):
        raise FormatError("this is not a plan", path=path, hint=_MAKE) from None
    form = data.get("format") if isinstance(data, dict) else None
    if form != FORMAT:
        message = f"this is a plan of format {form!r}, and this Interlock reads format {FORMAT}"
        raise FormatError(message, path=path, hint=f"{_MAKE}, with the same version of Interlock")
    try:
        return PlanFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(f"this is not a plan: {where}: {first['msg']}", path=path, hint=_MAKE) from None
