"""Which line of Git and which value made a field of a plan. Asked only of what a plan tells of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from interlock.cd.objects import MISSING, ItemKey, Path, matches_key, reach
from interlock.cd.plan import Action, FieldChange, Plan, PlanItem
from interlock.contract.render import Identity, Manifest
from interlock.contract.sources import Sources
from interlock.contract.strict_yaml import Path as ManifestPath
from interlock.contract.tree import Tree


def explained(plan: Plan, manifests: Iterable[Manifest], tree: Tree) -> Plan:
    """The same plan, in which everything that Git makes says where."""
    told = {item.identity for item in plan.items if item.action != Action.UNCHANGED}
    if not told:
        return plan
    made: Mapping[Identity, Manifest] = {each.identity: each for each in manifests if each.identity in told}
    sources = Sources(tree, plan.environment)
    items = (_item(item, made[item.identity], sources) if item.identity in made else item for item in plan.items)
    return replace(plan, items=tuple(items))


def _item(item: PlanItem, manifest: Manifest, sources: Sources) -> PlanItem:
    fields = tuple(_field(field, manifest, sources) for field in item.fields)
    return replace(item, fields=fields, origin=replace(manifest.origin(), expression=None))


def _field(field: FieldChange, manifest: Manifest, sources: Sources) -> FieldChange:
    """Of what is masked the line alone: the text around an expression, or a default in it, may be the secret."""
    where = located(manifest.body, field.at) or _of_text(manifest.body, field.at)
    if where is None or field.kind in {"foreign", "removed"}:
        return field
    origin = manifest.origin(where)
    values = sources.values(manifest.application, origin, manifest.within(where), reach(manifest.body, where))
    return replace(field, origin=replace(origin, expression=None) if field.masked else origin, values=values)


def located(body: object, path: Path) -> ManifestPath | None:
    """A path with keyed items by their index; None where the body has nothing there."""
    steps: list[str | int] = []
    for part in path:
        step = _index(body, part) if isinstance(part, ItemKey) else part
        if step is None or reach(body, (step,)) is MISSING:
            return None
        steps.append(step)
        body = reach(body, (step,))
    return tuple(steps)


def _of_text(body: object, path: Path) -> ManifestPath | None:
    """A Secret's `data` may be what Git says as `stringData`."""
    return located(body, ("stringData", *path[1:])) if path[:1] == ("data",) else None


def _index(items: object, key: ItemKey) -> int | None:
    found = items if isinstance(items, list) else []
    return next((index for index, item in enumerate(found) if matches_key(item, key.fields)), None)
