"""Objects that kubectl, Helm, Argo CD or Flux made: whose they are, and what of theirs goes when they become ours.

Ownership moves as kubectl's `csaupgrade` does it: what the former managers claim and nobody declares any more becomes
our claim, so that the next apply, which does not declare it, takes it away together with its own changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from interlock.cd import compare
from interlock.cd.compare import Fields
from interlock.cd.conflicts import is_of_kind
from interlock.cd.foreign import Unexplained, guarded, removable, removal_operations, removed
from interlock.cd.guards import kind_name
from interlock.cd.objects import PART_OF, Body, Path, annotation, keyed, label, reach, subject, uid
from interlock.contract.models import TakeOver
from interlock.contract.render import Identity
from interlock.errors import ParameterError

if TYPE_CHECKING:
    from interlock.cd.plan import PlanItem


@dataclass(frozen=True)
class Origin:
    """A tool that makes objects: the field managers it writes as, and the marks by which it finds them again.

    Patterns as in a shell.
    """

    name: str
    managers: tuple[str, ...]
    labels: Mapping[str, str]
    """Values by key."""
    annotations: tuple[str, ...]


ORIGINS = (
    Origin("Helm", ("helm",), {"app.kubernetes.io/managed-by": "Helm"}, ("meta.helm.sh/*",)),
    Origin(
        "Argo CD",
        ("argocd-controller", "argocd-application-controller"),
        {"argocd.argoproj.io/*": "*"},
        ("argocd.argoproj.io/tracking-id", "argocd.argoproj.io/installation-id"),
    ),
    Origin(
        "Flux",
        ("kustomize-controller", "helm-controller", "flux-*"),
        {"kustomize.toolkit.fluxcd.io/*": "*", "helm.toolkit.fluxcd.io/*": "*"},
        ("kustomize.toolkit.fluxcd.io/*", "helm.toolkit.fluxcd.io/*"),
    ),
    Origin(
        "kubectl",
        ("kubectl", "kubectl-*", "before-first-apply"),
        {},
        ("kubectl.kubernetes.io/last-applied-configuration",),
    ),
)
"""Helm and Flux as of Helm 3 and 4 and Flux 2; Argo CD from 2.5 on. Before them what came is kubectl's."""


def named(entries: Iterable[TakeOver], identity: Identity) -> TakeOver | None:
    """The entry that names an object, whatever its UID."""
    return next(
        (
            entry
            for entry in entries
            if is_of_kind(entry.kind, identity)
            and (entry.namespace or "", entry.name) == (identity.namespace, identity.name)
        ),
        None,
    )


def taken(entries: Iterable[TakeOver], identity: Identity, live: Body) -> TakeOver | None:
    """The entry by which a living object may be taken over: one that is of another UID does not count."""
    entry = named(entries, identity)
    return entry if entry and entry.uid in {None, uid(live)} else None


def origins(live: Body) -> tuple[str, ...]:
    """The tools that made an object, or had a hand in it, by their claims and marks; those with marks come first."""
    metadata = live["metadata"]
    marked = [o.name for o in ORIGINS if any(_is_mark(o, path, live) for path in _keys(metadata))]
    claiming = [o.name for o in ORIGINS if any(_is_of(o, claim.manager) for claim in compare.claims(live))]
    return tuple(dict.fromkeys((*marked, *claiming)))


def former(live: Body, entry: TakeOver | None = None) -> tuple[str, ...]:
    """The field managers that are forgotten: known tools', and those that the entry names."""
    more = entry.managers if entry else ()
    found = {claim.manager for claim in compare.claims(live) if not claim.subresource}
    return tuple(sorted(name for name in found if name in more or any(_is_of(origin, name) for origin in ORIGINS)))


def _is_of(origin: Origin, manager: str) -> bool:
    return any(fnmatchcase(manager, pattern) for pattern in origin.managers)


def _keys(metadata: Mapping[str, Any]) -> Iterable[Path]:
    for field in ("labels", "annotations"):
        yield from (("metadata", field, key) for key in metadata.get(field) or {})


def _is_mark(origin: Origin, path: Path, live: Body) -> bool:
    match path:
        case ("metadata", "annotations", str(key)):
            return any(fnmatchcase(key, pattern) for pattern in origin.annotations)
        case ("metadata", "labels", str(key)):
            return any(
                fnmatchcase(key, name) and fnmatchcase(label(live, key), value) for name, value in origin.labels.items()
            )
    return False


# what goes -------------------------------------------------------------------------------------------


def leaving(things: Iterable[Unexplained], live: Body, managers: Iterable[str]) -> tuple[Unexplained, ...]:
    """Of what nobody declares: the tools' marks, and what only the former managers claim."""
    names = frozenset(managers)
    return tuple(
        thing
        for thing in things
        if removable(thing)
        and (any(_is_mark(origin, thing.path, live) for origin in ORIGINS) or _claimed_only_by(live, thing.path, names))
    )


def _claimed_only_by(live: Body, path: Path, managers: frozenset[str]) -> bool:
    holders = {claim.manager for claim in compare.claims(live) if compare.closeness(claim.fields, path, live)}
    return bool(holders) and holders <= managers


def hand_over_patch(live: Body, things: Iterable[Unexplained], managers: Iterable[str], manager: str) -> list[Body]:
    """A JSON Patch after which the former managers claim nothing, and we claim what is to go.

    A tool's mark that nobody claims any more goes at once. It holds for this very version of the object. Status and
    other subresources keep their managers. Empty when there is nothing to hand over.
    """
    names, going = frozenset(managers), tuple(things)
    marks = tuple(thing for thing in going if not _claimed_only_by(live, thing.path, names))
    entries = live["metadata"].get("managedFields") or []
    given = [e for e in entries if e.get("manager") in names and not e.get("subresource")]
    operations = removal_operations(live, marks)
    if not given and not operations:
        return []
    if given:
        rest = [t.path for t in going if t not in marks]
        merged = _ours(live, given, rest, manager)
        kept = [e for e in entries if e not in given and not _is_ours(e, manager)]
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": [*kept, merged]})
    return [*guarded(live), *operations]


def _is_ours(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _ours(live: Body, given: Iterable[Mapping[str, Any]], paths: list[Path], manager: str) -> Body:
    """Our claim with what goes of theirs. Claims of another version of the kind are in its terms, and left out."""
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{PART_OF}": {}}}}
    if own := compare.ours(live, manager):
        fields = _union(fields, own.fields)
    for entry in given:
        if entry.get("apiVersion") == live["apiVersion"]:
            for path in paths:
                fields = _union(fields, _below(entry.get("fieldsV1") or {}, path, live))
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _below(fields: Fields, path: Path, live: object) -> Fields:
    """The part of a claim that is at a path and below it, with the way there. `live` is what the claim is on."""
    if not path:
        return fields
    live = reach(live, path[:1])
    found = compare.step(fields, path[0], live)
    if found is None:
        return {}
    name, below = found
    if not below:
        return {name: {}}  # the whole is one claim
    inner = _below(below, path[1:], live)
    return {name: inner} if inner else {}


def _union(one: Fields, other: Fields) -> dict[str, Any]:
    return {
        key: _union(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
        for key in (*one, *(key for key in other if key not in one))
    }


def expected(live: Body, things: Iterable[Unexplained], desired: Body) -> Body:
    """What a take-over makes of an object, where the server cannot be asked for it in one step: what goes is gone, and
    what Git declares is laid over the rest.
    """
    laid: Body = _laid_over(removed(live, things), desired, "")
    return {**laid, "metadata": {key: value for key, value in laid["metadata"].items() if key != "managedFields"}}


def _laid_over(below: Any, over: Any, field: str) -> Any:
    if isinstance(below, dict) and isinstance(over, dict):
        laid = {key: _laid_over(below[key], value, key) if key in below else value for key, value in over.items()}
        return {**below, **laid}
    if isinstance(below, list) and isinstance(over, list):
        one, other = keyed(field, below), keyed(field, over)
        if one and other:
            items = {key: _laid_over(one[key], value, "") if key in one else value for key, value in other.items()}
            return list({**one, **items}.values())
    return over


def whole_patch(live: Body, wanted: Body) -> list[Body]:
    """A JSON Patch (RFC 6902) that makes of an object just what is wanted, for a dry run: it asks for no other right
    than what is done later. Status, and what the server alone writes, is left out.
    """
    return [
        *_replaced("", live, wanted, frozenset({*live, *wanted}) - {"apiVersion", "kind", "metadata", "status"}),
        *_replaced("/metadata", live["metadata"], wanted["metadata"], _WRITABLE),
    ]


_WRITABLE = frozenset({"annotations", "finalizers", "labels", "ownerReferences"})


def _replaced(
    below: str, live: Mapping[str, Any], wanted: Mapping[str, Any], fields: Collection[str]
) -> Iterator[Body]:
    for field in sorted(fields):
        if field in wanted and wanted[field] != live.get(field):
            yield {"op": "add", "path": f"{below}/{field}", "value": wanted[field]}
        elif field in live and field not in wanted:
            yield {"op": "remove", "path": f"{below}/{field}"}


# proposals -------------------------------------------------------------------------------------------


def chosen(items: Iterable[PlanItem], names: Sequence[str]) -> tuple[PlanItem, ...]:
    """The strangers' objects that stand in a plan's way: those of these names (`Deployment/shop/web`), or all.

    ParameterError for a name that is none of them.
    """
    found = {subject(item.identity): item for item in items if item.whose == "a stranger's"}
    for name in names:
        if name not in found:
            known = f"these do: {', '.join(found)}" if found else "nobody's does"
            hint = f"an object is taken over when Git names it and somebody else's is in its way; now {known}"
            raise ParameterError(f"{name}: not an object to take over", hint=hint)
    return tuple(found[name] for name in dict.fromkeys(names)) if names else tuple(found.values())


def proposals(items: Iterable[PlanItem], managers: Sequence[str]) -> tuple[TakeOver, ...]:
    """The entries that take these very objects over; `managers` are forgotten besides the known tools'."""
    return tuple(
        TakeOver(
            kind=kind_name(item.identity),
            name=item.identity.name,
            namespace=item.identity.namespace or None,
            uid=item.uid,
            managers=tuple(managers),
        )
        for item in items
    )


# words -----------------------------------------------------------------------------------------------


def reason(live: Body) -> str:
    """`taken over from Helm (Helm release shop/web)`: what a plan says of it."""
    made, of = origins(live), made_for(live)
    return (f"taken over from {' and '.join(made)}" if made else "taken over") + (f" ({of})" if of else "")


def made_for(live: Body) -> str:
    """What to stop before a take-over: the release, application or Kustomization that an object is of; else nothing."""
    if release := annotation(live, "meta.helm.sh/release-name"):
        return f"Helm release {annotation(live, 'meta.helm.sh/release-namespace')}/{release}"
    if tracked := annotation(live, "argocd.argoproj.io/tracking-id"):
        return f"Argo CD application {tracked.partition(':')[0]}"
    if name := label(live, "kustomize.toolkit.fluxcd.io/name"):
        return f"Flux Kustomization {label(live, 'kustomize.toolkit.fluxcd.io/namespace')}/{name}"
    if name := label(live, "helm.toolkit.fluxcd.io/name"):
        return f"Flux HelmRelease {label(live, 'helm.toolkit.fluxcd.io/namespace')}/{name}"
    return ""
