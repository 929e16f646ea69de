"""Whose an object is when it changes hands: from one environment to another, or to nobody. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.cd.foreign import guarded
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import NONCE, PART_OF, Body, label
from interlock.cd.record import parent_name, part_of
from interlock.contract.kinds import cluster_kind
from interlock.contract.render import Identity


@dataclass(frozen=True)
class Neighbour:
    """Another environment of the same cluster, as this host knows it."""

    name: str
    environment_id: str
    control_namespace: str
    cluster_kinds: tuple[str, ...] = ()
    """The kinds without namespaces that Git lets him have still."""

    @property
    def manager(self) -> str:
        return parent_name(self.environment_id)

    @property
    def part_of(self) -> str:
        return part_of(self.environment_id, self.control_namespace)


@dataclass(frozen=True)
class Given:
    """An object that Git gave us and that a neighbour's inventory has still: `entry` is what it says."""

    neighbour: Neighbour
    entry: Entry


def place(identity: Identity) -> str:
    """The namespace that an object is in, or that it is."""
    return identity.name if (identity.group, identity.kind) == ("", "Namespace") else identity.namespace


def may_be_given(identity: Identity, neighbour: Neighbour) -> bool:
    """Whether Git can have moved an object from a neighbour to us.

    A namespace is one environment's. What is in none may be named by both: it is his as long as he may have its kind.
    """
    return bool(place(identity)) or cluster_kind(identity.group, identity.kind) not in neighbour.cluster_kinds


def marked(live: Body, neighbour: Neighbour) -> bool:
    """Whether an object looks like a neighbour's. A hint: his inventory is the proof."""
    return label(live, PART_OF) == neighbour.part_of or any(_applied(claim, neighbour.manager) for claim in _all(live))


def given(identity: Identity, live: Body, neighbour: Neighbour, inventory: Inventory) -> Given | None:
    """The proof: this very object is in the neighbour's inventory, and Git has given its namespace to us."""
    entry = inventory.get(identity)
    return Given(neighbour, entry) if entry and entry.means(live) else None


def released(entries: Iterable[Entry], takers: Mapping[Identity, Inventory]) -> tuple[Identity, ...]:
    """Of what leaves, with the inventory of the environment that has it now: what that one has noted with its UID."""
    return tuple(
        entry.identity
        for entry in entries
        for inventory in (takers.get(entry.identity),)
        if inventory and (theirs := inventory.get(entry.identity)) and theirs.uid
    )


# claims ----------------------------------------------------------------------------------------------


def left_claims(live: Body, managers: Collection[str]) -> tuple[str, ...]:
    """The managers among these that claim fields of an object."""
    return tuple(sorted({claim.get("manager", "") for claim in _all(live)} & set(managers)))


def as_taken(live: Body, manager: str, former: Collection[str]) -> Body:
    """An object as it is once the claims of former managers are ours."""
    return {**live, "metadata": {**live["metadata"], "managedFields": _taken(live, manager, former)}}


def taking_patch(live: Body, manager: str, former: Collection[str]) -> tuple[Body, ...]:
    """A JSON Patch (RFC 6902) that makes former managers' claims ours, in this very version of the object."""
    return (*guarded(live), _replaced_claims(_taken(live, manager, former)))


def release_patch(live: Body, manager: str) -> tuple[Body, ...]:
    """A JSON Patch (RFC 6902) that takes our label, nonce and claims off this very version of the object."""
    metadata = live["metadata"]
    stamps = tuple(
        {"op": "remove", "path": f"/metadata/{field}/{_escaped(key)}"}
        for field, key in (("labels", PART_OF), ("annotations", NONCE))
        if key in (metadata.get(field) or {})
    )
    return (
        *guarded(live),
        *stamps,
        _replaced_claims([claim for claim in _all(live) if claim.get("manager") != manager]),
    )


def _taken(live: Body, manager: str, former: Collection[str]) -> list[dict[str, Any]]:
    """What a former manager applied is what we applied, unless we have applied ourselves; his other claims go."""
    taken: list[dict[str, Any]] = []
    applied = any(_applied(claim, manager) for claim in _all(live))
    for claim in _all(live):
        if claim.get("manager") not in former:
            taken.append(claim)
        elif not applied and _applied(claim, str(claim["manager"])):
            taken.append({**claim, "manager": manager})
            applied = True
    return taken


def applied_by(live: Body) -> frozenset[str]:
    """The managers that claim to have applied an object."""
    return frozenset(name for claim in _all(live) if _applied(claim, name := str(claim.get("manager", ""))))


def _applied(claim: Mapping[str, Any], manager: str) -> bool:
    mine = claim.get("manager") == manager and claim.get("operation") == "Apply"
    return mine and not claim.get("subresource")


def _replaced_claims(claims: list[dict[str, Any]]) -> Body:
    # One empty claim is what the server takes for "nobody's"; an empty list would leave it as it is.
    return {"op": "replace", "path": "/metadata/managedFields", "value": claims or [{}]}


def _all(live: Body) -> list[dict[str, Any]]:
    return list(live["metadata"].get("managedFields") or ())


def _escaped(key: str) -> str:
    """A key as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
