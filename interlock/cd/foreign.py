"""What lives without a reason: neither desired, nor a server's default, nor written by a controller that may."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, reduce
from typing import Any, NamedTuple, cast

from interlock.cd.objects import (
    MISSING,
    NONCE,
    PART_OF,
    Body,
    ItemKey,
    Part,
    Path,
    group_of,
    keyed,
    matches_key,
    pattern,
    reach,
)
from interlock.contract.render import Identity
from interlock.contract.workloads import mapping

Pattern = tuple[str, ...]


class Unexplained(NamedTuple):
    """One thing, however large: an injected container is one. `default` is what the server would have put there."""

    path: Path
    value: object
    default: object = MISSING
    declared: Path | None = None
    """Its place in the desired object, where that is another than in the live one."""
    surplus: bool = False
    """An item of a list without known keys, for which the desired list has no counterpart."""


def unexplained(desired: Body, live: Body, *, scaled: bool = False) -> tuple[Unexplained, ...]:
    """What the tables below do not explain. The server's own defaults may still: ask `against_defaults`.

    `scaled`: an autoscaler may choose the number of replicas.
    """
    found: list[Unexplained] = []
    _note_extra(found, desired, _without_bookkeeping(live), (), ())
    table = _table(group_of(live["apiVersion"]), live["kind"])
    return tuple(
        item
        for item in found
        if not (scaled and item.path == ("spec", "replicas")) and not _known(table, item.path, item.value)
    )


def _without_bookkeeping(live: Body) -> Body:
    """Without what every object has from the server: there is much of it, and none of it is anybody's desire."""
    body = {**live, "metadata": {key: value for key, value in live["metadata"].items() if key not in _BOOKKEEPING}}
    body.pop("status", None)
    return body


def against_defaults(candidates: tuple[Unexplained, ...], defaulted: Body) -> tuple[Unexplained, ...]:
    """What is left when the server's answer to a dry-run create of the desired object explains the rest."""
    return tuple(left for item in candidates for left in _unlike_default(item, defaulted))


def _unlike_default(item: Unexplained, defaulted: Body) -> Iterator[Unexplained]:
    if not item.surplus:
        return _left(item.path, item.value, reach(defaulted, item.declared or item.path))
    # An item that the server adds to a list by itself may stand anywhere in it.
    around = reach(defaulted, (item.declared or item.path)[:-1])
    return iter(() if isinstance(around, list) and item.value in around else (item,))


def _left(path: Path, value: Any, default: Any) -> Iterator[Unexplained]:
    if value == default:
        return
    if isinstance(value, dict) and isinstance(default, dict):
        for key, below in value.items():
            yield from _left((*path, key), below, default.get(key, MISSING))
    elif isinstance(value, list) and isinstance(default, list) and (items := keyed(str(path[-1]), value)):
        for item, below in items.items():
            known = next((other for other in default if matches_key(other, item.fields)), MISSING)
            yield from _left((*path, item), below, known)
    else:
        yield Unexplained(path, value, default)


def _note_extra(found: list[Unexplained], desired: Any, live: Any, path: Path, declared: Path | None = None) -> None:
    """What lives beside what is desired. Desired values that differ are for the comparison, not for here.

    `declared` is where `desired` stands, when that is another place than `path`. It fills a list, because a large plan
    spends its time here, and a generator for each level takes twice as long.
    """
    if isinstance(desired, dict) and isinstance(live, dict):
        for key, value in live.items():
            want = desired.get(key, MISSING)
            if want is MISSING or (want is None and value is not None):  # null declares nothing
                found.append(Unexplained((*path, key), value, MISSING, _below(declared, key)))
            elif want != value:  # most is equal, and comparing is quicker than looking into it
                _note_extra(found, want, value, (*path, key), _below(declared, key))
    elif isinstance(desired, list) and isinstance(live, list):
        _note_extra_items(found, desired, live, path, declared)


def _below(declared: Path | None, part: Part) -> Path | None:
    return None if declared is None else (*declared, part)


def _note_extra_items(
    found: list[Unexplained], desired: list[Any], live: list[Any], path: Path, declared: Path | None
) -> None:
    """Items that are equal go together, then those of one key, or without known keys those that hold a desired one."""
    items = keyed(str(path[-1]), live)
    waiting = {index: item for index, item in enumerate(desired) if item not in live}
    for index, value in enumerate(live):
        if value in desired:
            continue
        key = next((key for key, item in items.items() if item is value), None) if items else None
        place = index if key is None else key
        at = next((at for at, item in waiting.items() if _belongs(value, key, item)), None)
        if at is not None:
            there = _below(declared, place) if key else (*(path if declared is None else declared), at)
            _note_extra(found, waiting.pop(at), value, (*path, place), there)
        elif key is not None or len(live) > len(desired):
            found.append(Unexplained((*path, place), value, MISSING, _below(declared, place), surplus=key is None))


def _belongs(live: Any, key: ItemKey | None, desired: Any) -> bool:
    return matches_key(desired, key.fields) if key else _holds(live, desired)


def _holds(live: Any, desired: Any) -> bool:
    """Whether all that is desired lives, whatever lives beside it."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return all(key in live and _holds(live[key], value) for key, value in desired.items())
    if isinstance(desired, list) and isinstance(live, list):
        return len(desired) <= len(live) and all(any(_holds(each, item) for each in live) for item in desired)
    return bool(live == desired)


# removal ---------------------------------------------------------------------------------------------

_KEPT = frozenset({("metadata", "finalizers"), ("metadata", "ownerReferences")})
"""Reported and never taken away: they decide what else is deleted, and when."""


def removable(thing: Unexplained) -> bool:
    """Whether an undo may take it away."""
    return thing.path[:2] not in _KEPT


def removal_patch(live: Body, things: Iterable[Unexplained]) -> tuple[Body, ...]:
    """A JSON Patch (RFC 6902) that takes foreign things away, or puts the server's default in their place.

    It holds for this very version of this very object and no other. What is not there any more as it was seen is left
    out; the patch is empty when nothing is left.
    """
    operations = removal_operations(live, things)
    return (*guarded(live), *operations) if operations else ()


def guarded(live: Body) -> tuple[Body, Body]:
    """The tests that make a JSON Patch hold for this very version of this very object."""
    metadata = live["metadata"]
    return (
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
    )


def removal_operations(live: Body, things: Iterable[Unexplained]) -> list[Body]:
    """What takes the things away, without the tests."""
    return [_operation(_pointer(address), thing.default) for address, thing in _from_the_end(live, things)]


def removed(body: Body, things: Iterable[Unexplained]) -> Body:
    """A copy of a body after the same operations."""
    shorter = copy.deepcopy(body)
    for address, thing in _from_the_end(body, things):
        *way, last = address
        place = reduce(lambda value, step: value[step], way, cast("Any", shorter))
        if thing.default is MISSING:
            del place[last]
        else:
            place[last] = thing.default
    return shorter


def _from_the_end(live: Body, things: Iterable[Unexplained]) -> list[tuple[tuple[str | int, ...], Unexplained]]:
    """What is there as it was seen, by address. From the end: an item that goes moves those behind it."""
    found = [(_address(live, thing.path), thing) for thing in things if reach(live, thing.path) == thing.value]
    return sorted(
        found,
        key=lambda pair: [(str(step), 0) if isinstance(step, str) else ("", step) for step in pair[0]],
        reverse=True,
    )


def _operation(pointer: str, default: object) -> Body:
    if default is MISSING:
        return {"op": "remove", "path": pointer}
    return {"op": "replace", "path": pointer, "value": default}


def _address(live: Any, path: Path) -> tuple[str | int, ...]:
    """A path that leads somewhere, with keyed items by their index."""
    steps: list[str | int] = []
    for part in path:
        if isinstance(part, ItemKey):
            steps.append(next(index for index, item in enumerate(live) if matches_key(item, part.fields)))
        else:
            steps.append(part)
        live = live[steps[-1]]
    return tuple(steps)


def _pointer(address: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in address)


# autoscalers -----------------------------------------------------------------------------------------

_SCALERS = frozenset({("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject")})


def scaled(desired: Iterable[Body]) -> frozenset[Identity]:
    """What an autoscaler that Git declares may scale. One that is only in the cluster does not count."""
    scalers = (body for body in desired if (group_of(body["apiVersion"]), body["kind"]) in _SCALERS)
    return frozenset(map(_target, scalers))


def _target(scaler: Body) -> Identity:
    """After HorizontalPodAutoscaler v2 and KEDA's ScaledObject, for which a Deployment is the default.

    What is malformed is for the server to refuse; it names nothing that there is.
    """
    named = mapping(scaler, ("spec", "scaleTargetRef"))
    group, kind = group_of(str(named.get("apiVersion", "apps/v1"))), str(named.get("kind", "Deployment"))
    return Identity(group, kind, scaler["metadata"].get("namespace", ""), str(named.get("name", "")))


# tables ----------------------------------------------------------------------------------------------

_ANY = object()

_BOOKKEEPING = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    }
)
_METADATA: Mapping[Pattern, object] = {
    ("metadata", "labels", PART_OF): _ANY,
    ("metadata", "annotations", NONCE): _ANY,
}

_PROBE = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}


def _containers() -> Iterator[tuple[Pattern, object]]:
    for kind in ("containers", "initContainers"):
        container = (kind, "*")
        yield (*container, "terminationMessagePath"), "/dev/termination-log"
        yield (*container, "terminationMessagePolicy"), "File"
        yield (*container, "imagePullPolicy"), "IfNotPresent"
        yield (*container, "resources"), {}
        yield (*container, "ports", "*", "protocol"), "TCP"
        yield (*container, "env", "*", "valueFrom", "fieldRef", "apiVersion"), "v1"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            yield (*container, probe, "httpGet", "scheme"), "HTTP"
            yield from (((*container, probe, name), value) for name, value in _PROBE.items())


_POD: Mapping[Pattern, object] = {
    **dict(_containers()),
    ("dnsPolicy",): "ClusterFirst",
    ("restartPolicy",): "Always",
    ("schedulerName",): "default-scheduler",
    ("securityContext",): {},
    ("terminationGracePeriodSeconds",): 30,
    **{("volumes", "*", kind, "defaultMode"): 420 for kind in ("configMap", "secret", "projected", "downwardAPI")},
}


def _template(*path: str, without: tuple[str, ...] = ()) -> dict[Pattern, object]:
    return {(*path, *tail): value for tail, value in _POD.items() if tail[0] not in without}


_KINDS: Mapping[tuple[str, str], Mapping[Pattern, object]] = {
    ("apps", "Deployment"): {
        ("metadata", "annotations", "deployment.kubernetes.io/revision"): _ANY,
        ("spec", "replicas"): 1,
        ("spec", "progressDeadlineSeconds"): 600,
        ("spec", "revisionHistoryLimit"): 10,
        ("spec", "strategy"): {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
        **_template("spec", "template", "spec"),
    },
    ("apps", "StatefulSet"): {
        ("spec", "replicas"): 1,
        ("spec", "podManagementPolicy"): "OrderedReady",
        ("spec", "revisionHistoryLimit"): 10,
        ("spec", "updateStrategy"): {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        ("spec", "persistentVolumeClaimRetentionPolicy"): {"whenDeleted": "Retain", "whenScaled": "Retain"},
        **_template("spec", "template", "spec"),
    },
    ("apps", "DaemonSet"): {
        ("metadata", "annotations", "deprecated.daemonset.template.generation"): _ANY,
        ("spec", "revisionHistoryLimit"): 10,
        ("spec", "updateStrategy"): {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
        },
        **_template("spec", "template", "spec"),
    },
    ("batch", "Job"): {
        ("spec", "selector"): _ANY,
        ("spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid"): _ANY,
        ("spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name"): _ANY,
        ("spec", "template", "metadata", "labels", "controller-uid"): _ANY,
        ("spec", "template", "metadata", "labels", "job-name"): _ANY,
        **_template("spec", "template", "spec"),
    },
    ("", "Service"): {
        ("spec", "clusterIP"): _ANY,
        ("spec", "clusterIPs"): _ANY,
        ("spec", "ipFamilies"): _ANY,
        ("spec", "healthCheckNodePort"): _ANY,
        ("spec", "ports", "*", "nodePort"): _ANY,
        ("spec", "ipFamilyPolicy"): "SingleStack",
        ("spec", "internalTrafficPolicy"): "Cluster",
        ("spec", "sessionAffinity"): "None",
        ("spec", "type"): "ClusterIP",
        ("spec", "ports", "*", "protocol"): "TCP",
    },
    ("", "Secret"): {("type",): "Opaque"},
    ("", "ServiceAccount"): {("secrets",): _ANY},
    ("", "Namespace"): {
        ("spec",): {"finalizers": ["kubernetes"]},
        ("metadata", "labels", "kubernetes.io/metadata.name"): _ANY,
    },
    ("", "PersistentVolumeClaim"): {
        ("spec", "volumeName"): _ANY,
        ("spec", "storageClassName"): _ANY,
        ("metadata", "finalizers"): ["kubernetes.io/pvc-protection"],
        ("metadata", "annotations", "pv.kubernetes.io/bind-completed"): _ANY,
        ("metadata", "annotations", "pv.kubernetes.io/bound-by-controller"): _ANY,
        ("metadata", "annotations", "volume.kubernetes.io/storage-provisioner"): _ANY,
        ("metadata", "annotations", "volume.kubernetes.io/selected-node"): _ANY,
    },
    ("", "Pod"): {("spec", "nodeName"): _ANY, **_template("spec")},
}
"""Defaults and controller-written fields by kind. A value must be the one given here; `_ANY` is a field that its
controller fills. What this does not know costs one dry-run create, nothing more."""

CHOSEN_BY_SERVER: Mapping[tuple[str, str], tuple[Path, ...]] = {
    ("", "Service"): (("spec", "clusterIP"), ("spec", "clusterIPs"), ("spec", "healthCheckNodePort")),
    ("", "PersistentVolumeClaim"): (("spec", "volumeName"),),
}
"""What a desired object may pin and only one object may have: left out when defaults are asked for."""


@lru_cache
def _table(group: str, kind: str) -> Mapping[Pattern, object]:
    return {**_KINDS.get((group, kind), {}), **_METADATA}


def _known(table: Mapping[Pattern, object], path: Path, value: object) -> bool:
    """Whether the tables explain a value wholly."""
    explained = table.get(pattern(path), MISSING)
    if explained is not MISSING:
        return explained is _ANY or explained == value
    if isinstance(value, dict) and value:
        return all(_known(table, (*path, key), below) for key, below in value.items())
    return False


def probe_body(desired: Body, name: str) -> Body:
    """The desired object under a throw-away name, for a dry-run create that shows the server's defaults."""
    body = {key: value for key, value in desired.items() if key != "status"}
    body["metadata"] = {**desired["metadata"], "name": name}
    for path in CHOSEN_BY_SERVER.get((group_of(desired["apiVersion"]), desired["kind"]), ()):
        body = _without(body, path)
    return body


def _without(body: Any, path: Path) -> Any:
    head, *rest = path
    if not isinstance(body, dict) or head not in body:
        return body
    if not rest:
        return {key: value for key, value in body.items() if key != head}
    return {**body, head: _without(body[head], tuple(rest))}
