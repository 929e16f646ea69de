"""Kubernetes objects as JSON values, and what can be said about one without asking anybody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.contract.render import Identity

Body = dict[str, Any]
"""An object as the API server speaks it."""

PART_OF = "applyset.kubernetes.io/part-of"
NONCE = "interlock/nonce"
"""The annotation that an object is stamped with when it is made: after a crash it tells ours from a stranger's."""


@dataclass(frozen=True, order=True)
class ItemKey:
    """A list's item, named by its keys as the server merges it: `[name=web]`, `[containerPort=80,protocol=TCP]`."""

    keys: tuple[tuple[str, str | int | bool], ...]

    @property
    def fields(self) -> dict[str, str | int | bool]:
        return dict(self.keys)


Part = str | int | ItemKey
"""A step into an object: a mapping's key, a list's keyed item, or an index where a list has no keys."""
Path = tuple[Part, ...]


@dataclass(frozen=True)
class Resource:
    """A kind as the API server serves it. `group` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """The REST path of the collection, or of one object in it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


def group_of(api_version: str) -> str:
    """`apps` of `apps/v1`, nothing of `v1`."""
    return api_version.rpartition("/")[0]


def identify(body: Body) -> Identity:
    """An object's identity; never its version."""
    metadata = body["metadata"]
    return Identity(group_of(body["apiVersion"]), body["kind"], metadata.get("namespace", ""), metadata["name"])


def subject(identity: Identity) -> str:
    """How people are told of an object: `Deployment/shop/web`, `Namespace/shop`."""
    return "/".join(part for part in (identity.kind, identity.namespace, identity.name) if part)


def uid(body: Body) -> str:
    return str(body["metadata"]["uid"])


def version_of(body: Body) -> str:
    """The object's resourceVersion: another one after every write."""
    return str(body["metadata"].get("resourceVersion", ""))


def label(body: Body, key: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(key, ""))


def annotation(body: Body, key: str) -> str:
    return str((body["metadata"].get("annotations") or {}).get(key, ""))


def controlled(body: Body) -> bool:
    """Whether a controller owns the object: it is somebody else's product then, whatever its labels say."""
    return any(owner.get("controller") for owner in body["metadata"].get("ownerReferences", ()))


def conditions(body: Mapping[str, Any]) -> tuple[Body, ...]:
    """What an object's status says of itself; a custom kind's may be anything that its definition lets in."""
    status = body.get("status")
    found = status.get("conditions") if isinstance(status, dict) else None
    return tuple(each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def stamped(body: Body, *, part_of: str, nonce: str) -> Body:
    """What is applied: the manifest with our label and the nonce. The manifest itself stays as it is."""
    metadata = body["metadata"]
    labels = {**(metadata.get("labels") or {}), PART_OF: part_of}
    annotations = {**(metadata.get("annotations") or {}), NONCE: nonce}
    return {**body, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


# paths -----------------------------------------------------------------------------------------------

_ITEM_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "imagePullSecrets": (("name",),),
    "secrets": (("name",),),
    "webhooks": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "resourceClaims": (("name",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
    "conditions": (("type",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
}
_KEY_DEFAULTS = {"protocol": "TCP"}
_KEY_TYPES = frozenset({str, int, bool})


def item_key(field: str, item: object) -> ItemKey | None:
    """How the server tells an item of this list from another; None where it has no keys or we do not know them."""
    if not isinstance(item, dict):
        return None
    for keys in _ITEM_KEYS.get(field, ()):
        if keys[0] in item:
            named: list[tuple[str, Any]] = [(key, item.get(key, _KEY_DEFAULTS.get(key))) for key in keys]
            if {type(value) for _, value in named} <= _KEY_TYPES:
                return ItemKey(tuple(named))
    return None


def matches_key(item: object, fields: Mapping[str, object]) -> bool:
    """Whether a list's item is the one that these keys name."""
    if not isinstance(item, dict):
        return False
    for key, value in fields.items():  # noqa: SIM110 - a large plan asks this of each container and port
        if item.get(key, _KEY_DEFAULTS.get(key)) != value:
            return False
    return True


def keyed(field: str, items: list[Any]) -> dict[ItemKey, Any] | None:
    """A list by its items' keys; None when it is not such a list, or two items share a key."""
    found = {key: item for item in items if (key := item_key(field, item)) is not None}
    return found if len(found) == len(items) else None


_MARK = re.compile(r"[./\[\]\s]")


def spell(path: Path) -> str:
    """A path for people: `spec.template.spec.containers[name=web].image`, `metadata.labels["a.b/c"]`."""
    text = ""
    for part in path:
        if isinstance(part, ItemKey):
            text += "[" + ",".join(f"{key}={value}" for key, value in part.keys) + "]"
        elif isinstance(part, int):
            text += f"[{part}]"
        elif not part or _MARK.search(part):
            text += f"[{json.dumps(part)}]"
        else:
            text += f".{part}" if text else part
    return text


def pattern(path: Path) -> tuple[str, ...]:
    """A path with `*` for every item of a list."""
    return tuple([part if isinstance(part, str) else "*" for part in path])  # a list is filled quicker than a generator


def reach(value: object, path: Path) -> object:
    """What stands at a path, or MISSING."""
    for part in path:
        if isinstance(part, str) and isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(part, ItemKey) and isinstance(value, list):
            value = next((item for item in value if matches_key(item, part.fields)), MISSING)
        elif isinstance(part, int) and isinstance(value, list) and part < len(value):
            value = value[part]
        else:
            return MISSING
    return value


class _Missing:
    def __repr__(self) -> str:
        return "(nothing)"


MISSING = _Missing()
"""Nothing stands there, which is not the same as null."""
