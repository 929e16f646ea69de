"""Writes a plan to the cluster, stage by stage, and prunes what Git no longer names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from interlock.cd import conflicts, foreign, take_over
from interlock.cd.guards import keeps
from interlock.cd.handover import left_claims, release_patch, taking_patch
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import NONCE, Body, annotation, identify, stamped, subject, uid
from interlock.cd.order import Stage
from interlock.cd.plan import Action, Plan, PlanItem, Scope
from interlock.cd.prune import not_ours_to_delete, waves
from interlock.cd.release_jobs import is_held, letting_go
from interlock.contract.render import Identity
from interlock.errors import ClusterError, Conflict
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import namespace_is_gone, side_by_side
from tasks.cd.lease import Lock
from tasks.common.effect import effect

_TRIES = 4
RECREATE_SECONDS = 30.0
"""How long an object that is recreated may take to go."""


def intents(plan: Plan, inventory: Inventory, scope: Scope) -> Inventory:
    """The inventory before the first write: every object that will be made, with the nonce that will claim it."""
    new = [
        Entry(
            item.identity,
            item.application,
            secrets.token_hex(8),
            adopted=item.given.adopted if item.given else item.action == Action.CHANGE,
            keep=_keeps(item),
        )
        for item in plan.having(Action.CREATE, Action.CHANGE)
        if item.identity not in inventory.entries
    ]
    again = [  # somebody deleted it: what is made now has another UID
        Entry(item.identity, item.application, inventory.entries[item.identity].nonce, keep=_keeps(item))
        for item in plan.having(Action.CREATE)
        if item.identity in inventory.entries
    ]
    # What is recreated is known by its nonce until the new one's UID is noted, whenever we are stopped.
    anew = [replace(inventory.entries[item.identity], uid="") for item in plan.items if item.recreated]
    return inventory.with_entries((*plan.repairs, *new, *again, *anew)).without((*plan.forgotten, *plan.released))


def _keeps(item: PlanItem) -> bool:
    return item.body is not None and keeps(item.body)


@dataclass(frozen=True)
class Written:
    """What came of objects that were to be applied: their UIDs, or what the server said instead."""

    uids: Mapping[Identity, str] = field(default_factory=dict)
    refused: Mapping[Identity, ClusterError] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[Written]) -> Written:
        uids: dict[Identity, str] = {}
        refused: dict[Identity, ClusterError] = {}
        for part in parts:
            uids |= part.uids
            refused |= part.refused
        return cls(uids, refused)


@effect(name="apply stage", task_run_name="apply {name}")
def apply_stage(
    cluster: Cluster, stage: Stage, *, name: str, inventory: Inventory, scope: Scope, lock: Lock
) -> Written:
    """Apply a stage's objects side by side. What is there already stays as it is.

    One that is refused does not keep the others; LockHeld keeps all.
    """
    lock.renew()
    write = partial(apply_one, cluster, inventory=inventory, scope=scope, lock=lock)
    return Written.of(written for wave in stage.waves for written in side_by_side(write, wave))


def apply_one(cluster: Cluster, item: PlanItem, *, inventory: Inventory, scope: Scope, lock: Lock) -> Written:
    """Apply one object."""
    try:
        return Written({item.identity: _apply_one(cluster, item, inventory=inventory, scope=scope, lock=lock)})
    except ClusterError as error:
        return Written(refused={item.identity: error})


def _apply_one(cluster: Cluster, item: PlanItem, *, inventory: Inventory, scope: Scope, lock: Lock) -> str:
    assert item.body is not None  # noqa: S101 - what is written has a body
    if item.whose == "taken over":
        _tried(lambda: _handed_over(cluster, item, scope), lock)
        _applied(cluster, item, item.body, inventory=inventory, scope=scope, lock=lock)
        return uid(_tried(lambda: _without_foreign(cluster, item, scope), lock))
    # What goes first holds for what the plan saw; and an apply after it has the last word on what we claim.
    if item.removals:
        done = _tried(lambda: _without_foreign(cluster, item, scope), lock)
    if item.applied:
        done = _applied(cluster, item, item.body, inventory=inventory, scope=scope, lock=lock)
    return uid(done)


def _applied(cluster: Cluster, item: PlanItem, body: Body, *, inventory: Inventory, scope: Scope, lock: Lock) -> Body:
    nonce = inventory.entries[item.identity].nonce
    body = stamped(body, part_of=scope.part_of, nonce=nonce)
    if item.recreated:
        _make_room(cluster, item, scope, lock)
    if item.action == Action.CREATE or item.recreated:
        return _tried(lambda: _create(cluster, body, nonce, scope), lock)
    if item.predecessors:
        _tried(lambda: _claims_taken(cluster, item, scope), lock)
    named = {**body, "metadata": {**body["metadata"], "uid": item.uid}}
    return _tried(lambda: _forced_where_decided(cluster, item, named, scope), lock)


def _make_room(cluster: Cluster, item: PlanItem, scope: Scope, lock: Lock) -> None:
    """Delete the object that cannot become what Git says, and wait until it is gone; a Job's pods go first."""
    if not _taken_away(cluster, item, lock, scope=scope, thorough=item.identity.kind == "Job"):
        raise Conflict(f"{subject(item.identity)}: became somebody else's since the plan was made")
    if not _gone(cluster, item, time.monotonic() + RECREATE_SECONDS):
        raise Conflict(
            f"{subject(item.identity)}: is deleted, and not gone after {RECREATE_SECONDS:g} s",
            hint="the next run makes it anew; what holds it is in its metadata.finalizers",
        )


def _forced_where_decided(cluster: Cluster, item: PlanItem, body: Body, scope: Scope) -> Body:
    """Apply; take from other managers only what the plan decided to: all that Git declares in an undo or a take-over,
    else what the rules force.
    """
    try:
        return cluster.apply(
            body, manager=scope.manager, force=scope.undo or item.whose == "taken over", brief=True
        ).body
    except Conflict as error:
        if not error.fields or not all(conflicts.covered(field, item.forced) for field in error.fields):
            raise
    return cluster.apply(body, manager=scope.manager, force=True, brief=True).body


def _handed_over(cluster: Cluster, item: PlanItem, scope: Scope) -> Body:
    """Forget the former managers; what of theirs is to go becomes ours, for the apply to take away."""
    live = _same(cluster, item)
    patch = take_over.hand_over_patch(live, item.removals, item.former, scope.manager)
    return _patched(cluster, item, patch, scope) if patch else live


def _without_foreign(cluster: Cluster, item: PlanItem, scope: Scope) -> Body:
    """Take away what the plan saw and nobody declared; what was changed since is left to the next plan."""
    live = _same(cluster, item)
    patch = foreign.removal_patch(live, item.removals)
    return _patched(cluster, item, patch, scope) if patch else live


def _claims_taken(cluster: Cluster, item: PlanItem, scope: Scope) -> Body:
    """Make ours what another environment applied, so that an apply of ours is the only one from then on."""
    live = _same(cluster, item)
    if not left_claims(live, item.predecessors):
        return live
    return _patched(cluster, item, taking_patch(live, scope.manager, item.predecessors), scope)


def _same(cluster: Cluster, item: PlanItem) -> Body:
    """The object that the plan looked at, as it is now."""
    live = cluster.find(item.identity)
    if live is None or uid(live) != item.uid:
        raise Conflict(f"{subject(item.identity)}: was replaced or deleted since the plan was made", status=409)
    return live


def _patched(cluster: Cluster, item: PlanItem, patch: Sequence[Body], scope: Scope) -> Body:
    try:
        return cluster.patch(item.identity, patch, manager=scope.manager)
    except ClusterError as error:
        if error.status != 422:
            raise
        # A test of the patch: somebody wrote in between, and it has to be made for the newest version.
        raise Conflict(error.message, status=409, transient=True) from error


def _create(cluster: Cluster, body: Body, nonce: str, scope: Scope) -> Body:
    """Make an object by apply. What appeared since the plan is left to whoever made it, as it was.

    Server-side apply says 200 instead of 201 when it met a stranger; unforced, it has changed nothing of his then.
    """
    applied = cluster.apply(body, manager=scope.manager, brief=True)
    if applied.created:
        return applied.body
    before = _before(applied.body, scope.manager)
    if before == nonce:
        return applied.body
    metadata = {k: v for k, v in body["metadata"].items() if k in {"name", "namespace"}}
    bare = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata}
    cluster.apply(bare, manager=scope.manager, brief=True)
    raise Conflict(
        f"{subject(identify(body))}: appeared since the plan was made, and is not ours",
        status=409,
        hint="it was left as it was: delete or rename it, or take it out of Git",
    )


def _before(body: Body, manager: str) -> str:
    """The nonce, when the object is one that an attempt of ours made whose answer was lost.

    Then nobody else has written it: a stranger's object has claims of its own.
    """
    others = [entry for entry in body["metadata"].get("managedFields", ()) if entry.get("manager") != manager]
    return "" if any(not entry.get("subresource") for entry in others) else annotation(body, NONCE)


def _tried(write: Callable[[], Body], lock: Lock) -> Body:
    """Try again what may help, a little later each time; never without the lock."""
    for attempt in range(1, _TRIES + 1):
        lock.require_held()
        try:
            return write()
        except ClusterError as error:
            if not error.transient or attempt == _TRIES:
                raise
            time.sleep(0.25 * 2**attempt)
    raise AssertionError


@effect(name="prune", task_run_name="prune")
def prune(
    cluster: Cluster, items: Iterable[PlanItem], lock: Lock, *, scope: Scope, seconds: float, thorough: bool = False
) -> tuple[Identity, ...]:
    """Take away, by UID, what the plan says may go; gives those that the environment does not own any more.

    Wave after wave, users before what they use: what does not go in time keeps its inventory entry, stops the waves
    behind it, and the next run looks again. `thorough` waits for pods and other dependants too.
    """
    gone: list[Identity] = []
    deadline = time.monotonic() + seconds
    for wave in waves(items, scope.after):
        lock.renew()
        asked = side_by_side(lambda i: _taken_away(cluster, i, lock, scope=scope, thorough=thorough), wave)
        done = side_by_side(lambda pair: pair[1] and _gone(cluster, pair[0], deadline), zip(wave, asked, strict=True))
        gone += [item.identity for item, absent in zip(wave, done, strict=True) if absent]
        if not all(done):
            break
    return tuple(gone)


def _taken_away(cluster: Cluster, item: PlanItem, lock: Lock, *, scope: Scope, thorough: bool) -> bool:
    """Delete or let go of this very version of the object; False when it became somebody else's since the plan."""
    for _ in range(_TRIES):
        lock.require_held()
        live = cluster.find(item.identity)
        if live is None or uid(live) != item.uid:
            return True
        if not item.release and not_ours_to_delete(live, scope):
            return False
        try:
            if is_held(live):  # its end is awaited no longer
                live = cluster.patch(item.identity, letting_go(live), manager=scope.manager)
            if item.release:
                cluster.patch(item.identity, release_patch(live, scope.manager), manager=scope.manager)
            else:
                cluster.delete(item.identity, uid=item.uid, version=_version(live), foreground=thorough)
        except ClusterError as error:
            if error.status not in {404, 409, 422}:
                raise
            continue  # written in between
        return True
    return False


def _version(live: Body) -> str:
    return str(live["metadata"]["resourceVersion"])


def _gone(cluster: Cluster, item: PlanItem, deadline: float) -> bool:
    """Whether the server says so before the deadline; what was let go of is not waited for."""
    while not item.release:
        live = cluster.find(item.identity)
        if live is None or uid(live) != item.uid:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@effect(name="confirm absence", retries=3)
def confirm_absent(cluster: Cluster, entries: Iterable[Entry]) -> tuple[Identity, ...]:
    """Of entries that a LIST did not show: those that a GET of their own says are gone, or of another UID."""
    return tuple(entry.identity for entry in entries if _absent(cluster, entry))


def _absent(cluster: Cluster, entry: Entry) -> bool:
    try:
        live = cluster.find(entry.identity)
    except ClusterError as error:
        if error.status == 403 and namespace_is_gone(cluster, entry.identity.namespace):
            return True
        if error.status != 404:
            raise
        return True  # the kind itself is not served any more
    return live is None or not entry.means(live)
