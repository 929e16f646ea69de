"""Reads what other environments of the same cluster own, where Git moves objects from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock.cd.handover import Given, Neighbour, given, marked, may_be_given, released
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import Body
from interlock.cd.plan import Scope, Wanted, handed, is_stranger
from interlock.contract.render import Identity
from interlock.contract.report import counted
from interlock.errors import ClusterError, Refused
from tasks.cd.cluster import Cluster
from tasks.cd.record import read_stored


def received(cluster: Cluster, wants: Sequence[Wanted], scope: Scope) -> tuple[list[Wanted], list[str]]:
    """The wanted objects, with those that Git moved here from an environment whose inventory still has them."""
    notes: list[str] = []
    if not scope.neighbours:
        return list(wants), notes
    strangers = {want.identity: want.live for want in wants if want.live and is_stranger(want, scope)}
    found: dict[Identity, Given] = {}
    for neighbour in scope.neighbours:
        his = {i: live for i, live in strangers.items() if may_be_given(i, neighbour) and marked(live, neighbour)}
        if his and (inventory := _inventory(cluster, neighbour, notes)):
            proven = ((identity, given(identity, live, neighbour, inventory)) for identity, live in his.items())
            found |= {identity: proof for identity, proof in proven if proof}
    return [handed(want, found.get(want.identity), scope) for want in wants], notes


def find_released(cluster: Cluster, entries: Sequence[Entry], scope: Scope) -> tuple[tuple[Identity, ...], list[str]]:
    """Of what leaves: what the environment that Git gives it to has noted as its own."""
    notes: list[str] = []
    owners = {entry.identity: owner for entry in entries if (owner := scope.owner_now(entry.identity))}
    known = {each.name: each for each in scope.neighbours}
    wanted = sorted(set(owners.values()))
    read = {name: _inventory(cluster, known[name], notes) for name in wanted if name in known}
    takers = {identity: inventory for identity, name in owners.items() if (inventory := read.get(name))}
    found = released(entries, takers)
    if found:
        by = " and ".join(wanted)
        one, many = f"object was taken over by {by}, and leaves", f"objects were taken over by {by}, and leave"
        notes.append(f"{counted(len(found), one, many)} the inventory")
    return found, notes


def owned_by_neighbours(
    cluster: Cluster,
    bodies: Mapping[Identity, Body],
    scope: Scope,
    notes: list[str],
    *,
    marked_only: bool = True,
) -> Mapping[Identity, str]:
    """Of these objects: those that other environments' inventories have, by UID, and whose they are.

    With `marked_only`, who has left no mark on any of them is not asked.
    """
    found: dict[Identity, str] = {}
    for neighbour in scope.neighbours if bodies else ():
        if marked_only and not any(marked(body, neighbour) for body in bodies.values()):
            continue
        inventory = _inventory(cluster, neighbour, notes)
        mine = inventory.entries if inventory else {}
        owned = (i for i, body in bodies.items() if i in mine and mine[i].means(body))
        found |= dict.fromkeys(owned, f"environment {neighbour.name}")
    return found


def _inventory(cluster: Cluster, neighbour: Neighbour, notes: list[str]) -> Inventory | None:
    """What a neighbour owns; None, and a note, when it cannot be read: nothing changes hands then."""
    try:
        stored = read_stored.fn(
            cluster, control_namespace=neighbour.control_namespace, environment_id=neighbour.environment_id
        )
    except (ClusterError, Refused) as error:
        if isinstance(error, ClusterError) and error.transient:
            raise
        notes.append(f"what environment {neighbour.name} owns cannot be read: {error.message}")
        return None
    return stored.inventory
