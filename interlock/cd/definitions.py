"""Custom kinds, as CustomResourceDefinitions define them before any cluster serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from interlock.cd.objects import Body, Resource, group_of
from interlock.contract.workloads import mapping

_GROUP, _KIND = "apiextensions.k8s.io", "CustomResourceDefinition"


def defined(bodies: Iterable[Body]) -> tuple[Resource, ...]:
    """The kinds, at every version that is served, of the definitions among these objects."""
    return tuple(
        kind
        for body in bodies
        if (group_of(str(body.get("apiVersion", ""))), body.get("kind")) == (_GROUP, _KIND)
        for kind in _kinds(mapping(body, ("spec",)))
    )


def _kinds(spec: object) -> Iterator[Resource]:
    """Of a definition that says too little, none: the server will refuse it."""
    match spec:
        case {"group": str(group), "names": {"kind": str(kind), "plural": str(plural)}, "versions": list(versions)}:
            namespaced = mapping(spec, ()).get("scope") == "Namespaced"
            for version in versions:
                if isinstance(version, dict) and version.get("served") and isinstance(version.get("name"), str):
                    yield Resource(group, version["name"], kind, plural, namespaced)
