"""Objects as the API server gives them, small."""

from __future__ import annotations

from typing import Any

from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Scope
from interlock.contract.render import Manifest

MANAGER = "interlock-0123456789ab"
SET = "applyset-x-v1"
TIME = "2030-01-02T03:04:05Z"


def scope(**changes: Any) -> Scope:
    values: dict[str, Any] = {
        "environment": "dev",
        "environment_id": "0123456789ab",
        "commit": "c" * 40,
        "control_namespace": "control",
        "part_of": SET,
        "undo": True,
        "again": False,
        "namespaces": ("shop",),
    }
    return Scope(**{**values, **changes})


def claim(manager: str, fields: object, *, operation: str = "Apply", time: str = TIME, subresource: str = "") -> Body:
    entry = {"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsV1": fields}
    return {**entry, "subresource": subresource} if subresource else entry


def config_map(data: dict[str, str], *claims: Body, uid: str = "u1", nonce: str = "n1", owned: bool = True) -> Body:
    """A live ConfigMap shop/c, ours by label and nonce unless said otherwise."""
    metadata: Body = {"name": "c", "namespace": "shop", "uid": uid, "managedFields": list(claims)}
    if owned:
        metadata |= {"labels": {PART_OF: SET}, "annotations": {NONCE: nonce}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def owns(*keys: str) -> dict[str, Any]:
    """The fieldsV1 set of an apply of these keys of data, with our label and nonce."""
    stamp: dict[str, Any] = {"f:annotations": {f"f:{NONCE}": {}}, "f:labels": {f"f:{PART_OF}": {}}}
    return {"f:metadata": stamp, "f:data": {f"f:{key}": {} for key in keys}}


def manifest(data: dict[str, str]) -> Manifest:
    metadata = {"name": "c", "namespace": "shop"}
    return Manifest({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, "shop", {})
