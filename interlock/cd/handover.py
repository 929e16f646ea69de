"""Whose an object is when it changes hands: from us to nobody, from one environment to another. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from interlock.cd.objects import NONCE, PART_OF, Body, uid


def release_patch(live: Body, manager: str) -> tuple[Body, ...]:
    """A JSON Patch (RFC 6902) that takes our label, nonce and claims off this very version of the object."""
    metadata = live["metadata"]
    patch = [*_tests(live)]
    for field, key in (("labels", PART_OF), ("annotations", NONCE)):
        if key in (metadata.get(field) or {}):
            patch.append({"op": "remove", "path": f"/metadata/{field}/{_escaped(key)}"})
    return (*patch, _claims([claim for claim in _managed(live) if claim.get("manager") != manager]))


def _tests(live: Body) -> tuple[Body, ...]:
    version = live["metadata"]["resourceVersion"]
    return (
        {"op": "test", "path": "/metadata/uid", "value": uid(live)},
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
    )


def _claims(claims: Iterable[Any]) -> Body:
    # An empty list is what the server takes for "nobody's"; without the field it would keep what it has.
    return {"op": "replace", "path": "/metadata/managedFields", "value": list(claims) or [{}]}


def _managed(live: Body) -> list[dict[str, Any]]:
    return list(live["metadata"].get("managedFields") or ())


def _escaped(key: str) -> str:
    """A key as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
