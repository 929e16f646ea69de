"""Fields that an object keeps for life: known by a table per kind, before the server is asked; and what follows.

Sure is only what the table names and Git declares otherwise. All else is found by the server's answer to a dry run.
After the validation of Kubernetes' own registries (`pkg/apis/*/validation`), 1.30 to 1.36.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from interlock.cd.objects import MISSING, NONCE, Body, Path, annotation, controlled, keyed, reach, spell
from interlock.contract.render import Identity

if TYPE_CHECKING:
    from interlock.cd.inventory import Entry

GroupKind = tuple[str, str]
Shape = tuple[str, ...]
"""A path with `*` for every keyed item of a list."""

_RBAC = "rbac.authorization.k8s.io"
_RUN = tuple(
    ("spec", "template", "spec", place, "*", field)
    for place in ("containers", "initContainers")
    for field in ("image", "command", "args")
)
_FIXED: Mapping[GroupKind, tuple[Shape, ...]] = {
    ("apps", "Deployment"): (("spec", "selector"),),
    ("apps", "ReplicaSet"): (("spec", "selector"),),
    ("apps", "DaemonSet"): (("spec", "selector"),),
    ("apps", "StatefulSet"): (("spec", "selector"), ("spec", "serviceName"), ("spec", "podManagementPolicy")),
    ("batch", "Job"): (("spec", "selector"), ("spec", "completionMode"), *_RUN),
    ("", "Service"): (("spec", "clusterIP"),),
    ("", "PersistentVolumeClaim"): tuple(
        ("spec", field) for field in ("accessModes", "storageClassName", "volumeMode", "volumeName", "selector")
    ),
    ("", "PersistentVolume"): (("spec", "volumeMode"),),
    ("", "Secret"): (("type",),),
    (_RBAC, "RoleBinding"): (("roleRef",),),
    (_RBAC, "ClusterRoleBinding"): (("roleRef",),),
    ("storage.k8s.io", "StorageClass"): tuple(
        (field,) for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
    ),
    ("scheduling.k8s.io", "PriorityClass"): (("value",), ("preemptionPolicy",)),
    ("networking.k8s.io", "IngressClass"): (("spec", "controller"),),
    ("discovery.k8s.io", "EndpointSlice"): (("addressType",),),
    ("node.k8s.io", "RuntimeClass"): (("handler",),),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (("spec", "group"), ("spec", "scope")),
}
_WITH_CONTENT: frozenset[GroupKind] = frozenset({("", "ConfigMap"), ("", "Secret")})
"""Their content is for life when they say so: `immutable: true`."""

RECREATED: Mapping[str, str] = {
    "ConfigMap": "",
    "Secret": "",
    "Service": "",
    "Job": "batch",
    "RoleBinding": _RBAC,
    "ClusterRoleBinding": _RBAC,
    "PriorityClass": "scheduling.k8s.io",
    "StorageClass": "storage.k8s.io",
}
"""Groups by kind: what an environment may have recreated, because nothing is lost with the object. Never what has
pods or data of its own."""


def moved(identity: Identity, desired: Body, live: Body) -> tuple[Path, ...]:
    """The fields that live for good with another value than Git declares."""
    kind = (identity.group, identity.kind)
    paths = [path for shape in _FIXED.get(kind, ()) for path in _found(desired, live, shape)]
    if kind == ("", "Service") and not _keeps_address(desired, live):
        paths = []
    if kind in _WITH_CONTENT and live.get("immutable") is True:
        paths += _content(desired, live)
    return tuple(paths)


def _found(desired: Any, live: Any, shape: Shape, path: Path = ()) -> Iterator[Path]:
    """What is there on both sides and differs in what is declared."""
    if not shape:
        if live is not MISSING and _differs(desired, live):
            yield path
        return
    step, *rest = shape
    if step == "*":
        items = keyed(str(path[-1]), desired) if isinstance(desired, list) else None
        for key, below in (items or {}).items():
            yield from _found(below, reach(live, (key,)), tuple(rest), (*path, key))
    elif isinstance(desired, dict) and step in desired:
        yield from _found(desired[step], reach(live, (step,)), tuple(rest), (*path, step))


def _differs(desired: Any, live: Any) -> bool:
    """Whether a declared leaf is another one. What Git does not declare may stay."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return any(key not in live or _differs(value, live[key]) for key, value in desired.items())
    return bool(desired != live)


def _keeps_address(desired: Body, live: Body) -> bool:
    """A Service may change its address only when it changes to or from a mere name."""
    return "ExternalName" not in [reach(body, ("spec", "type")) for body in (desired, live)]


def _content(desired: Body, live: Body) -> Iterator[Path]:
    for field in ("data", "binaryData", "stringData"):
        stored = "data" if field == "stringData" else field
        declared = desired.get(field)
        for key, value in (declared if isinstance(declared, dict) else {}).items():
            there = (live.get(stored) or {}).get(key, MISSING)
            if there is MISSING or _bytes(field, value, desired) != _bytes(stored, there, live):
                yield (stored, key)


def _bytes(field: str, value: object, body: Body) -> object:
    """What a value is about, however it is written."""
    if field == "stringData" or (body["kind"] == "ConfigMap" and field == "data"):
        return str(value).encode()
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return value


_SAID = (
    "field is immutable",
    "is immutable",
    "may not be changed",
    "may not change once set",
    "cannot change roleRef",
    "updates to ",
    "can not be less than",
    "are forbidden",
)
_BY_POLICY = ("admission webhook", "denied request", "denied the request")


def said(message: str) -> bool:
    """Whether the server's refusal is about a field that never changes; a policy's or webhook's words are its own."""
    return any(words in message for words in _SAID) and not any(words in message for words in _BY_POLICY)


# what follows ----------------------------------------------------------------------------------------


def told(identity: Identity, paths: tuple[Path, ...], message: str) -> str:
    """Why an object cannot become what Git says."""
    return f"{', '.join(map(spell, paths))} of a {identity.kind} never changes" if paths else message


def hindrance(identity: Identity, live: Body, entry: Entry | None, policy: tuple[str, ...]) -> str:
    """Why an object is not recreated; nothing when it may be: by policy, and nothing is lost with it."""
    if RECREATED.get(identity.kind) != identity.group:
        return "delete the object by hand when what goes with it may go, or name it anew in Git"
    if identity.kind not in policy:
        return f"delete the object by hand, name it anew in Git, or let it be recreated (recreate: [{identity.kind}])"
    if entry is None or entry.adopted or annotation(live, NONCE) != entry.nonce:
        return "it is not recreated, because it was not made by the environment"
    if live["metadata"].get("finalizers"):
        return f"it is not recreated, because finalizers hold it: {', '.join(live['metadata']['finalizers'])}"
    if controlled(live):
        return "it is not recreated, because a controller owns it"
    return _lost(live)


def _lost(live: Body) -> str:
    match live["kind"]:
        case "Job" if not _ended(live):
            return "it is not recreated while it runs: what it has begun would be cut off"
        case "Service" if (live.get("spec") or {}).get("type", "ClusterIP") != "ClusterIP":
            return "it is not recreated, because its ports and addresses outside of the cluster would be lost"
        case "Secret" if live.get("type") == "kubernetes.io/service-account-token":
            return "it is not recreated, because the token in it would be lost"
    return ""


def _ended(job: Body) -> bool:
    status = job.get("status") or {}
    ended = {c["type"] for c in status.get("conditions") or () if c.get("status") == "True"}
    return bool(ended & {"Complete", "Failed"}) or (bool(job["spec"].get("suspend")) and not status.get("active"))
