"""What becomes of objects that Git does not name any more: deleted, let go, or kept with the reason. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from interlock.cd import compare
from interlock.cd.blockers import waits_for
from interlock.cd.guards import CLAIM, CONTAINERS, DEFINITION, NAMESPACE, VOLUMES, kind_name, names, within
from interlock.cd.handover import applied_by, marked, place
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import PART_OF, Body, controlled, label, subject, uid
from interlock.cd.order import rank, stage_of
from interlock.cd.plan import Action, PlanItem, Scope
from interlock.cd.release_jobs import is_held
from interlock.contract.render import Identity
from interlock.contract.report import counted

After = Mapping[str, tuple[str, ...]]
"""By application: those that it waits for. Without a circle."""


def leaving(entry: Entry, live: Body | None, scope: Scope) -> PlanItem | None:
    """One object of the inventory that Git does not name; None when only the inventory has to forget it."""
    if live is None or not entry.means(live):
        return None
    item = PlanItem(entry.identity, Action.PRUNE, application=entry.application, uid=uid(live))
    if "deletionTimestamp" in live["metadata"] and not is_held(live):
        return kept(item, _going_since(live, None))
    if reason := scope.elsewhere.get(entry.identity, ""):
        return kept(item, reason)
    confirmation = scope.guards.confirmation(entry.identity, uid(live))
    if confirmation and confirmation.action == "release":
        return replace(item, release=True, reason="let go: it stays in the cluster, and is nobody's")
    others = not_ours_to_delete(live, scope) or _anothers(entry.identity, scope)
    return _deleted(item, others, _guarded(entry, scope), confirmed=confirmation is not None)


def _deleted(item: PlanItem, others: str, guarded: str, *, confirmed: bool) -> PlanItem:
    """Deleted, unless it is somebody's by now or needs a word of its own; that word counts for what is ours only."""
    if others:
        return kept(item, others)
    if guarded and not confirmed:
        return kept(item, guarded, confirmable=True)
    return replace(item, reason="confirmed" if guarded else "")


def kept(item: PlanItem, reason: str, *, confirmable: bool = False) -> PlanItem:
    """The same object, staying; `confirmable` when a signed confirmation would let it go."""
    return replace(item, action=Action.FOREIGN, kept=True, confirmable=confirmable, reason=f"kept: {reason}")


def not_ours_to_delete(live: Body, scope: Scope) -> str:
    """What speaks against its being ours, whatever the inventory says; nothing when all conditions hold."""
    if label(live, PART_OF) != scope.part_of:
        return "it does not carry our label any more"
    if compare.ours(live, scope.manager) is None:
        return "we own none of its fields any more"
    return "a controller owns it" if controlled(live) else ""


def _anothers(identity: Identity, scope: Scope) -> str:
    """Whether another environment has it, or its namespace, now, and may be about to take it over."""
    if owner := scope.given_away.get(identity):
        return f"environment {owner} may have it in Git, and takes it when this one may not have its kind any more"
    owner = scope.claimed.get(place(identity))
    return (
        f"the namespace {place(identity)} is environment {owner}'s now, which takes what its Git names" if owner else ""
    )


def _guarded(entry: Entry, scope: Scope) -> str:
    """Why an object of ours needs a signed word of its own to go."""
    identity, application = entry.identity, entry.application
    guards = (
        ((identity.group, identity.kind) in scope.guards.protected, f"a {identity.kind} goes only by confirmation"),
        (entry.adopted, "it was there before us, or was replaced by somebody, and goes only by confirmation"),
        (entry.keep, "the last manifest of it says `interlock.dev/prune: never`"),
        (aside(entry, scope), f"the namespace {identity.namespace} is not in environment.yaml any more"),
        (
            application in scope.guards.silent,
            f"the application {application} is in Git and renders no object: remove its files, or mend it",
        ),
    )
    return next((reason for holds, reason in guards if holds), "")


def with_blockers(
    items: Iterable[PlanItem], live: Mapping[Identity, Body], groups: Collection[str]
) -> tuple[PlanItem, ...]:
    """What is being deleted, with what is known of who holds it up; `groups` are the API groups that are served."""
    return tuple(kept(item, _going_since(live[item.identity], groups)) if going(item) else item for item in items)


def _going_since(live: Body, groups: Collection[str] | None) -> str:
    return f"is being deleted since {live['metadata']['deletionTimestamp']}: {waits_for(live, groups)}"


def looked_at(inventory: Inventory, scope: Scope) -> tuple[str, ...]:
    """The namespaces that are listed: the environment's, and what is to be deleted with all that is in it."""
    confirmed = (each for each in inventory.entries.values() if scope.guards.confirmation(each.identity, each.uid))
    emptied = {entry.identity.name for entry in confirmed if (entry.identity.group, entry.identity.kind) == NAMESPACE}
    return (*scope.namespaces, *sorted(emptied - set(scope.namespaces)))


def aside(entry: Entry, scope: Scope) -> bool:
    """Whether an object is in a namespace that the environment does not list any more."""
    return bool(entry.identity.namespace) and entry.identity.namespace not in scope.namespaces


def unseen(entry: Entry, why: str) -> PlanItem:
    """An object that may be there or not: nothing is done about it."""
    item = PlanItem(entry.identity, Action.PRUNE, application=entry.application, uid=entry.uid)
    return kept(item, f"it cannot be read: {why}")


# together --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Around:
    """What deletions are weighed against."""

    live: Mapping[Identity, Body]
    staying: Collection[Identity] = ()
    """What Git names, and what else of ours does not leave."""
    hidden: str = ""
    """Why not all that is in the namespaces could be seen."""
    theirs: Mapping[Identity, str] = field(default_factory=dict)
    """Objects that other environments declare, and which one does."""
    unseen: Mapping[Identity, str] = field(default_factory=dict)
    """By definition: why not all objects of its kind could be seen."""
    after: After = field(default_factory=dict)


def takes_a_kind(item: PlanItem) -> bool:
    """Whether a whole kind would go with it."""
    goes = item.action == Action.PRUNE and not item.release
    return goes and (item.identity.group, item.identity.kind) == DEFINITION


def marked_elsewhere(bodies: Mapping[Identity, Body], scope: Scope) -> Mapping[Identity, str]:
    """Of objects outside of an environment: those that carry the marks of another one, and which that is.

    Marks are no proof, and enough to keep what they are on.
    """
    return {i: _environment_of(i, body, scope) for i, body in bodies.items() if _of_another(body, scope)}


def _of_another(body: Body, scope: Scope) -> bool:
    managers = applied_by(body) - {scope.manager}
    return label(body, PART_OF) not in {"", scope.part_of} or any(map(_MANAGER.fullmatch, managers))


_MANAGER = re.compile(r"interlock-[0-9a-f]{12}")


def _environment_of(identity: Identity, body: Body, scope: Scope) -> str:
    owner = next((each.name for each in scope.neighbours if marked(body, each)), scope.claimed.get(identity.namespace))
    return f"environment {owner}" if owner else "another environment or ApplySet"


def weighed(items: Iterable[PlanItem], around: Around) -> tuple[PlanItem, ...]:
    """What leaves, after a look at all of it: nothing goes with what it holds that must stay, nor before its users."""
    found = tuple(items)
    return _after_users(tuple(_contained(item, found, around) for item in found), around.after)


def _contained(item: PlanItem, items: Collection[PlanItem], around: Around) -> PlanItem:
    """A Namespace goes only when nothing in it must stay: what Git names, what we keep, volume claims. So does a
    CustomResourceDefinition, with which all objects of its kind go, also those of other environments.
    """
    identity, live = item.identity, around.live
    if item.action != Action.PRUNE or item.release or (identity.group, identity.kind) not in CONTAINERS:
        return item
    space = (identity.group, identity.kind) == NAMESPACE
    if space and around.hidden:
        return kept(item, f"not all that is in it can be seen: {around.hidden}")
    if identity in around.unseen:
        return kept(item, f"not all objects of its kind can be seen: {around.unseen[identity]}")
    inside = {i for i in live if within(i, identity, live)}
    goes = {i.identity for i in items if i.action == Action.PRUNE and not i.release}
    held = {*around.staying, *around.theirs, *(i.identity for i in items if (i.kept and not going(i)) or i.release)}
    claims = {i for i in inside - goes if space and (i.group, i.kind) == CLAIM}
    if stays := sorted({i for i in held if within(i, identity, live)} | claims):
        named = ", ".join(_named(i, around.theirs) for i in stays[:3])
        more = f" and {len(stays) - 3} more" if len(stays) > 3 else ""
        return kept(item, f"it would take {named}{more} along")
    what = "all that is in it" if space else "all objects of its kind in the whole cluster"
    return replace(item, reason=f"confirmed; with {what}: {counted(len(inside - goes), 'object')} besides ours")


def _named(identity: Identity, theirs: Mapping[Identity, str]) -> str:
    return subject(identity) + (f" of {theirs[identity]}" if identity in theirs else "")


def going(item: PlanItem) -> bool:
    """Whether its deletion was asked for already."""
    return item.reason.startswith("kept: is being deleted")


def wave(identity: Identity) -> int:
    """In which wave an object is deleted: users before what they use, volumes and what contains others last."""
    if (identity.group, identity.kind) in CONTAINERS:
        return 4
    if (identity.group, identity.kind) in VOLUMES:
        return 3
    return {"admission": 0, "workloads": 1}.get(stage_of(identity), 2)


def waves(items: Iterable[PlanItem], after: After | None = None) -> tuple[tuple[PlanItem, ...], ...]:
    """What is deleted, wave after wave; within one, the order in which things are made, backwards.

    What could refuse writes goes first and what contains others last; in between, applications go before those that
    they wait for.
    """
    places = _places(after or {})
    found: dict[tuple[int, int, int], list[PlanItem]] = {}
    for item in sorted(items, key=lambda item: rank(item.identity), reverse=True):
        number = wave(item.identity)
        key = (number, 0, 0) if number in {0, 4} else (1, places.get(item.application, 0), number)
        found.setdefault(key, []).append(item)
    return tuple(tuple(found[key]) for key in sorted(found))


def _places(after: After) -> Mapping[str, int]:
    """How many steps of waiting lead to an application, at most: nobody waits for those at 0."""
    users = _users(after)
    places: dict[str, int] = {}
    for name in reversed(tuple(TopologicalSorter(after).static_order())):
        places[name] = max((places[user] + 1 for user in users.get(name, ())), default=0)
    return places


def _users(after: After) -> Mapping[str, frozenset[str]]:
    """By application: who waits for it itself."""
    found: dict[str, set[str]] = {}
    for name, others in after.items():
        for other in others:
            found.setdefault(other, set()).add(name)
    return {name: frozenset(users) for name, users in found.items()}


def _after_users(items: tuple[PlanItem, ...], after: After) -> tuple[PlanItem, ...]:
    """What an application's users may still need waits until they are gone: its own, and applications that wait for
    it.
    """
    leaving_: dict[str, PlanItem] = {}
    for item in sorted(filter(going, items), key=lambda item: wave(item.identity)):
        leaving_.setdefault(item.application, item)
    behind: dict[str, PlanItem] = {}
    users = _users(after)
    for name in reversed(tuple(TopologicalSorter(after).static_order())):
        found = (leaving_.get(user) or behind.get(user) for user in sorted(users.get(name, ())))
        if user := next(filter(None, found), None):
            behind[name] = user
    return tuple(_after(item, leaving_.get(item.application), behind.get(item.application)) for item in items)


def _after(item: PlanItem, own: PlanItem | None, other: PlanItem | None) -> PlanItem:
    """`own` is a user in the same application, `other` one in an application that waits for it."""
    if own is not None and wave(item.identity) <= wave(own.identity):
        own = None
    user = own or other
    if user is None or item.action != Action.PRUNE or item.release:
        return item
    return kept(item, f"goes after {subject(user.identity)}, which is not gone yet")


# what to do ------------------------------------------------------------------------------------------

_MOST_TOLD = 20


def advice(items: Iterable[PlanItem], inventory: Inventory, scope: Scope) -> tuple[str, ...]:
    """For whoever reads the plan: how to let go of what is kept, and which confirmations are of no use any more."""
    found = tuple(items)
    wanted = [item for item in found if item.confirmable]
    lines = [f"to delete {subject(item.identity)}, add under `prune`: {confirmation_line(item)}" for item in wanted]
    if len(lines) > _MOST_TOLD:
        more = counted(len(lines) - _MOST_TOLD, "more object is kept", "more objects are kept")
        lines = [*lines[:_MOST_TOLD], f"… and {more} until confirmed"]
    return (*lines, *_stale(inventory, {item.uid for item in found}, scope))


def confirmation_line(item: PlanItem) -> str:
    """The item of environment.yaml's `prune` that lets an object go, but for the reason."""
    i = item.identity
    named = {"kind": kind_name(i), "namespace": i.namespace, "name": i.name, "uid": item.uid, "reason": "…"}
    return (
        "{"
        + ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in named.items() if value)
        + "}"
    )


def _stale(inventory: Inventory, leaving_: Collection[str], scope: Scope) -> Iterable[str]:
    owned = {entry.uid: entry for entry in inventory.entries.values()}
    for number, each in enumerate(scope.guards.confirmed.values()):
        what, entry = f"`prune` entry {number + 1} ({each.kind} {each.name})", owned.get(each.uid)
        if entry is None:
            yield f"{what} is used up: the environment owns nothing of that UID; remove it"
        elif not names(each, entry.identity):
            yield f"{what} does not hold: the UID is of {subject(entry.identity)}"
        elif each.uid not in leaving_:
            yield f"{what} does not hold while Git names the object"
