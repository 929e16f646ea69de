"""What an environment touches in a cluster, by what Git has and what it still owns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from interlock.cd.control import BESIDE, Kind, Reach, Wide
from interlock.cd.guards import DEFINITION, NAMESPACE
from interlock.cd.objects import Resource
from interlock.contract.render import Identity

GroupKind = tuple[str, str]


def reach_of(
    identities: Iterable[Identity],
    served: Mapping[GroupKind, Resource],
    *,
    namespaces: Collection[str],
    others: Iterable[Kind] = BESIDE,
) -> Reach:
    """The reach of these objects. `served` has their kinds, `others` are the further ones that namespaces have."""
    known = sorted(set(identities))
    wide: dict[Kind, list[str]] = {}
    for each in known:
        resource = served[(each.group, each.kind)]
        if not resource.namespaced and (each.group, each.kind) != NAMESPACE:
            wide.setdefault(_kind(resource), []).append(each.name)
    written = {_kind(served[(each.group, each.kind)]) for each in known if served[(each.group, each.kind)].namespaced}
    made = {each.name for each in known if (each.group, each.kind) == NAMESPACE}
    return Reach(
        written=tuple(sorted(written)),
        looked_at=tuple(sorted(set(others) - written)),
        wide=tuple(Wide(kind, tuple(names)) for kind, names in sorted(wide.items())),
        defined=tuple(_defined(each.name) for each in known if (each.group, each.kind) == DEFINITION),
        namespaces=tuple(name for name in namespaces if name in made),
    )


def _kind(resource: Resource) -> Kind:
    return resource.api_version, resource.kind, resource.plural


def _defined(name: str) -> tuple[str, str]:
    """Group and plural: a definition is named after them."""
    plural, _, group = name.partition(".")
    return group, plural
