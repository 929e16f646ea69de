"""What a plan tells people: a tree for a terminal, Markdown for Prefect's page and a pull request, and its data.

What matters comes first: what stops, then what somebody changed, what would be deleted, what nobody declared, and the
changes of the commit last. Both forms are bounded, whatever the number of applications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from interlock.cd import plan_file, strangers
from interlock.cd.budget import allowance
from interlock.cd.objects import subject
from interlock.cd.plan import STOPS, Action, FieldChange, Plan, PlanItem
from interlock.contract.render import Origin
from interlock.contract.report import Branch, Report, Table, cell, counted, cut

NOTHING = "—"
MOST_OBJECTS = 50
"""Objects that are told of one by one, and fields of each; the others are counted."""
_MOST_FIELDS = 20
_MOST_NOTES = 20
_WIDE = 56
"""Values longer than this together stand on lines of their own."""
NOBODYS = "not in Git"
WORDS: Mapping[str, str] = {
    "create": "to create",
    "change": "to change",
    "prune": "to prune",
    "foreign": "foreign",
    "kept": "kept",
    "conflict": "in conflict",
    "immutable": "immutable",
    "blocked": "blocked",
    "unknown": "unknown",
}
_MARKS = {Action.CREATE: "+", Action.CHANGE: "~", Action.PRUNE: "-", Action.FOREIGN: "?"}
_TONES = {Action.CREATE: "good", Action.CHANGE: "change", Action.PRUNE: "bad", Action.FOREIGN: "odd"}
_KINDS = {
    "change": "",
    "drift": " (drift)",
    "foreign": " (foreign, stays)",
    "removed": " (foreign, goes)",
    "allowed": " (left to its owner)",
    "contested": " (contested, stays for now)",
}


def summary(plan: Plan) -> str:
    """`2 to create, 1 to change`; `nothing to change` when that is so."""
    return _counted(_counts(plan.items)) or "nothing to change"


def untouched(plan: Plan) -> str:
    """Of a plan that a sync would leave as it is, and that is no `all is as Git says`: why. Else nothing."""
    left = plan.having(Action.FOREIGN)
    if plan.writes or plan.stops or not left:
        return ""
    return (
        f"a sync would change no object, but {counted(len(left), 'is', 'are')} not as Git says ({summary(plan)}): "
        "exit code 1. What is foreign: delete it, declare it in Git, or name it in allowed_objects of environment.yaml"
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]} {word}" for name, word in WORDS.items() if counts.get(name))


def report(plan: Plan, *, most: int | None = MOST_OBJECTS) -> Report:
    """Every object that is not as Git says, with the reason and its fields; `most` objects at most, None for all."""
    named = sorted((item for item in plan.items if item.action != Action.UNCHANGED), key=urgency)
    groups = _by_application(named)
    title = f"Plan for {plan.environment} at {plan.commit[:12]}: {summary(plan)}"
    return Report(
        "plan",
        title,
        "\n".join(_head(plan, len(named))),
        tuple(_tables(plan, groups, named[:most])),
        data=plan_file.of(plan).model_dump(mode="json"),
        tree=tuple(_tree(groups, most)),
    )


def _head(plan: Plan, named: int) -> Iterator[str]:
    same = len(plan.items) - named
    told = f" {counted(same, 'object is as it should be', 'objects are as they should be')}." if same else ""
    yield f"Commit `{plan.commit[:12]}`.{told}"
    if plan.standings:
        yield f"In its namespaces live: {strangers.told(plan.standings)}."
    yield from (f"- note: {cell(note)}" for note in plan.notes[:_MOST_NOTES])
    if len(plan.notes) > _MOST_NOTES:
        yield f"- … and {counted(len(plan.notes) - _MOST_NOTES, 'more note')}"
    yield from (f"- **over the budget:** {cell(line)}" for line in plan.over)
    if plan.over:
        yield f"- to allow just these changes, add to environment.yaml: `{allowance(plan)}`"


# order -----------------------------------------------------------------------------------------------


def urgency(item: PlanItem) -> tuple[object, ...]:
    """What stops first, then drift, deletions, foreign objects by what they could do, changes, new objects."""
    if item.action in STOPS:
        place = 0
    elif item.drift:
        place = 1
    else:
        place = {Action.PRUNE: 2, Action.FOREIGN: 3, Action.CHANGE: 4}.get(item.action, 5)
    return place, strangers.threat(item.identity) if item.action == Action.FOREIGN else 0, item.identity


def _by_application(named: Iterable[PlanItem]) -> dict[str, list[PlanItem]]:
    """Applications in the order of the worst that they have."""
    found: dict[str, list[PlanItem]] = {}
    for item in named:
        found.setdefault(item.application or NOBODYS, []).append(item)
    return found


# one field -------------------------------------------------------------------------------------------


def place(origin: Origin) -> str:
    return f"{origin.path}:{origin.line}"


def made_by(field: FieldChange) -> str:
    """`templates/web/web.yaml.j2:9 ← values.replicas (environments/dev/web/values.yaml:1)`; nothing when unknown."""
    if field.origin is None:
        return ""
    if field.values:
        return f"{place(field.origin)} ← " + ", ".join(f"{v.name} ({v.path}:{v.line})" for v in field.values)
    expression = field.origin.expression
    return place(field.origin) + (f" {_braced(expression)}" if expression else "")


def _braced(expression: str) -> str:
    return expression if "{{" in expression else f"{{{{ {expression} }}}}"


def owner(field: FieldChange) -> str:
    """`kubectl-scale (Update, 2026-01-02T03:04:05Z)`; nothing when the cluster says nothing."""
    if not field.manager:
        return ""
    more = ", ".join(part for part in (field.operation, field.time) if part)
    return f"{field.manager} ({more})" if more else field.manager


# tree ------------------------------------------------------------------------------------------------


def _tree(groups: Mapping[str, Sequence[PlanItem]], most: int | None) -> Iterator[Branch]:
    left = most
    hidden: list[PlanItem] = []
    for application, items in groups.items():
        shown = items if left is None else items[:left]
        hidden += items[len(shown) :]
        left = None if left is None else left - len(shown)
        if shown:
            below = tuple(map(_object_branch, shown))
            yield Branch(f"{application}: {_counted(_counts(items))}", below)
    if hidden:
        applications = len({item.application for item in hidden})
        what = f"{counted(len(hidden), 'more object')} of {counted(applications, 'application')}"
        text = f"… and {what}: {_counted(_counts(hidden))}"
        yield Branch(text, (Branch("--all shows them", tone="quiet"),), "quiet")


def _counts(items: Iterable[PlanItem]) -> Mapping[str, int]:
    return Counter(_word(item) for item in items)


def _word(item: PlanItem) -> str:
    """What happens to it; what Git dropped and stays is none of the foreign."""
    return "kept" if item.kept else item.action.value


def _why(item: PlanItem) -> str:
    return item.reason.removeprefix("kept: ") if item.kept else item.reason


def _object_branch(item: PlanItem) -> Branch:
    text = f"{_MARKS.get(item.action, '!')} {_word(item)} {subject(item.identity)}"
    below = [_field_branch(field) for field in item.fields[:_MOST_FIELDS]]
    if len(item.fields) > _MOST_FIELDS:
        below.append(Branch(f"… and {counted(len(item.fields) - _MOST_FIELDS, 'more field')}", tone="quiet"))
    notes = [Branch(line, tone="quiet") for line in _about(item)]
    return Branch(text + (f": {_why(item)}" if item.reason else ""), (*notes, *below), _TONES.get(item.action, "bad"))


def _about(item: PlanItem) -> Iterator[str]:
    if item.manager or item.time:
        yield f"by {item.manager or 'unknown'}, since {item.time or 'unknown'}"
    if item.origin and not item.fields and item.origin.path not in item.reason:
        yield place(item.origin)


def _field_branch(field: FieldChange) -> Branch:
    live, desired = field.live, field.desired
    told = [f"by {owner(field)}" if owner(field) else "", made_by(field)]
    below = tuple(Branch(line, tone="quiet") for line in told if line)
    if len(live or "") + len(desired or "") <= _WIDE and "\n" not in f"{live}{desired}":
        text = f"{field.path}: {_shown(live)} → {_shown(desired)}{_KINDS[field.kind]}"
        return Branch(text, below)
    values = (Branch(f"live: {_shown(live)}", tone="bad"), Branch(f"then: {_shown(desired)}", tone="good"))
    return Branch(f"{field.path}{_KINDS[field.kind]}", (*values, *below))


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value or '""'


# tables ----------------------------------------------------------------------------------------------


def _tables(plan: Plan, groups: Mapping[str, Sequence[PlanItem]], shown: Sequence[PlanItem]) -> Iterator[Table]:
    """Applications, objects, fields; together below the size of a comment on a pull request (65,536 characters)."""
    if plan.blocked:
        yield Table.of(
            "Application", "Stays as it is because", rows=cut(plan.blocked.items(), most=50, characters=8000)
        )
    if len(groups) > 1:
        applications = [(name, _counted(_counts(items))) for name, items in groups.items()]
        yield Table.of("Application", "Objects", rows=cut(applications, most=100, characters=8000))
    if shown:
        hidden = sum(map(len, groups.values())) - len(shown)
        rows = cut(map(_object_row, shown), most=len(shown), characters=14_000)
        rows += [(f"… and {hidden} more", "", "", "", "")] if hidden else []
        yield Table.of("Application", "Action", "Object", "Why", "Made by", rows=rows)
    if fields := [_field_row(item, field) for item in shown for field in item.fields]:
        columns = ("Object", "Field", "Live", "In Git", "Kind", "Owner", "Made by")
        yield Table.of(*columns, rows=cut(fields, most=200, characters=24_000))


def _object_row(item: PlanItem) -> tuple[str, ...]:
    made = place(item.origin) if item.origin else NOTHING
    return item.application or NOBODYS, _word(item), subject(item.identity), _why(item) or NOTHING, made


def _field_row(item: PlanItem, field: FieldChange) -> tuple[str, ...]:
    values = (NOTHING if value is None else value for value in (field.live, field.desired))
    return subject(item.identity), field.path, *values, field.kind, owner(field) or NOTHING, made_by(field) or NOTHING
