"""What an apply makes of a living object, where that is sure without the server.

Sure is a change of values alone, at places where the server keeps just what it is given, in fields that we claim and
nobody else does, of an object that is ours. The table names what changes with a release; that the server answers the
same is tried place by place on a real one. All else goes to a dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.cd import compare
from interlock.cd.objects import Body, ItemKey, Path, matches_key, pattern, uid
from interlock.cd.plan import Look, Scope, Wanted
from interlock.contract.render import Identity

GroupKind = tuple[str, str]
Shape = tuple[str, ...]

_ANYWHERE: frozenset[Shape] = frozenset({("metadata", "labels", ""), ("metadata", "annotations", "")})
"""The last part is empty where any key is meant."""
_POD = tuple(
    (place, "*", *field)
    for place in ("containers", "initContainers")
    for field in (("image",), ("args",), ("command",), ("env", "*", "value"))
)
_TEMPLATE: frozenset[Shape] = frozenset(
    {
        ("spec", "template", "metadata", "annotations", ""),
        *(("spec", "template", "spec", *shape) for shape in _POD),
    }
)
PLAIN: Mapping[GroupKind, frozenset[Shape]] = {
    ("", "ConfigMap"): frozenset({("data", "")}),
    ("apps", "Deployment"): _TEMPLATE | {("spec", "replicas")},
    ("apps", "StatefulSet"): _TEMPLATE | {("spec", "replicas")},
}
"""A DaemonSet is not here: the server counts the generations of its template in an annotation."""


def all_of(looked: Iterable[tuple[Wanted, Look]], scope: Scope) -> Mapping[Identity, Body]:
    """The objects as they will be, of those of which that is sure."""
    if scope.again:  # somebody has been at work: the server is asked about each of it
        return {}
    open_ = (want for want, look in looked if look == Look.ASK)
    return {want.identity: body for want in open_ if (body := predicted(want, scope)) is not None}


def predicted(want: Wanted, scope: Scope) -> Body | None:
    """The object after an apply that would change something; None where that is not sure."""
    live, entry = want.live, want.entry
    if live is None or entry is None or entry.uid != uid(live):
        return None
    if want.left or want.given or want.predecessors or live["metadata"].get("deletionTimestamp"):
        return None
    changes = compare.changed_values(want.body, live, scope.manager)
    if not changes or not all(_plain(want.identity, path, value, live, scope.manager) for path, value in changes):
        return None
    body = live
    for path, value in changes:
        body = _with(body, path, value)
    return body


def _plain(identity: Identity, path: Path, value: object, live: Body, manager: str) -> bool:
    shapes = _ANYWHERE | PLAIN.get((identity.group, identity.kind), frozenset())
    shape = pattern(path)
    if shape not in shapes and (*shape[:-1], "") not in shapes:
        return False
    empty = value in (None, "", [])  # the server leaves it out
    if empty or (identity.kind == "ConfigMap" and live.get("immutable")):
        return False
    return compare.claimant(live, path, manager=manager) is None


def _with(body: Any, path: Path, value: object) -> Any:
    """The same with another value at a path that is there."""
    head, *rest = path
    if isinstance(head, ItemKey):
        return [_with(item, tuple(rest), value) if matches_key(item, head.fields) else item for item in body]
    return {**body, head: _with(body[head], tuple(rest), value) if rest else value}
