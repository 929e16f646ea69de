"""From desired objects, live objects and the server's answers to ordered changes. Pure: who asks is `tasks.cd.plan`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from interlock.cd import compare, conflicts, contest, foreign, immutable, take_over
from interlock.cd.conflicts import Yielded
from interlock.cd.contest import Contest
from interlock.cd.guards import Guards, keeps
from interlock.cd.handover import Given, Neighbour, as_taken, left_claims, place
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import (
    MISSING,
    NONCE,
    PART_OF,
    Body,
    Path,
    annotation,
    controlled,
    label,
    reach,
    spell,
    stamped,
    subject,
    uid,
    version_of,
)
from interlock.contract.canonical import canonical, digest, encoded
from interlock.contract.field_path import parse
from interlock.contract.models import AllowedObject, ConflictRule, TakeOver
from interlock.contract.render import Identity, Manifest, Origin
from interlock.contract.secret_text import MASK
from interlock.contract.sources import ValuePlace
from interlock.errors import ClusterError

NEW_NONCE = "0" * 16
"""Stands for the nonce of an object that a plan would make; the real one is drawn when it is made."""


FieldKind = Literal["change", "drift", "foreign", "removed", "allowed", "contested"]


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    PRUNE = "prune"
    FOREIGN = "foreign"
    CONFLICT = "conflict"
    IMMUTABLE = "immutable"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


WRITES = frozenset({Action.CREATE, Action.CHANGE, Action.PRUNE})
STOPS = frozenset({Action.CONFLICT, Action.IMMUTABLE, Action.BLOCKED, Action.UNKNOWN})


@dataclass(frozen=True)
class FieldChange:
    """One field, for people. None is a field that is not there; a Secret's values are masked."""

    path: str
    live: str | None
    desired: str | None
    manager: str
    """Who says that he wrote it, how (`Apply` or `Update`) and when (UTC); all empty when nobody does."""
    time: str
    kind: FieldKind
    """What a commit changes; what is put back; what nobody declared: only told of, or taken away; what a rule leaves
    to its manager.
    """
    operation: str = ""
    at: Path = ()
    masked: bool = False
    origin: Origin | None = None
    """The template's line and expression, or the manifest's line; None when no line of Git makes the field."""
    values: tuple[ValuePlace, ...] = ()
    """The values that the expression read, as far as they can be told."""


@dataclass(frozen=True)
class PlanItem:
    """What would happen to one object, and why. `body` is what would be applied, nonce and label included."""

    identity: Identity
    action: Action
    reason: str = ""
    fields: tuple[FieldChange, ...] = ()
    application: str = ""
    drift: bool = False
    """No commit explains it: somebody changed the cluster."""
    body: Body | None = None
    applied: bool = True
    """Whether `body` has to be applied at all: not when only foreign things go."""
    removals: tuple[foreign.Unexplained, ...] = ()
    """Foreign things that the environment's decision takes away."""
    former: tuple[str, ...] = ()
    """The managers that an object is taken over from; of a stranger's, those that it could be taken from."""
    whose: Literal["ours", "a stranger's", "taken over"] = "ours"
    """A stranger's is refused until a commit takes it over."""
    recreated: bool = False
    """Deleted and made again, because a field of it never changes."""
    forced: tuple[str, ...] = ()
    """The fields, as the server spells them, that a rule takes from another manager where drift is only observed."""
    uid: str = ""
    version: str = ""
    """The resourceVersion of the object that was looked at."""
    manager: str = ""
    time: str = ""
    origin: Origin | None = None
    """Where in Git the object is made."""
    kept: bool = False
    """Git does not name it any more, it is the environment's, and it stays."""
    confirmable: bool = False
    """What is kept would go by a signed confirmation."""
    release: bool = False
    """What is pruned is let go of instead of deleted."""
    given: Entry | None = None
    """What another environment's inventory says of the object, which Git has moved here."""
    predecessors: tuple[str, ...] = ()
    """The field managers of other environments whose claims become ours."""

    @classmethod
    def unchanged(cls, identity: Identity, *, application: str, uid: str) -> PlanItem:
        """An object that is as Git says; all else is as by default.

        There may be ten thousand of them, and filling a frozen dataclass field by field takes eight times as long.
        """
        item = object.__new__(cls)
        item.__dict__.update(identity=identity, action=Action.UNCHANGED, application=application, uid=uid)
        return item


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    ON_FAILURE = "on-failure"


class JobState(StrEnum):
    TO_RUN = "to run"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class ReleaseJob:
    """A Job that runs once for a release of its application. `item` is the Job as it is applied."""

    item: PlanItem
    when: When
    state: JobState
    seconds: int
    """How long it may run."""
    earlier: tuple[Identity, ...] = ()
    """Jobs of the same name for other releases: one that still runs is waited for first."""

    @property
    def identity(self) -> Identity:
        return self.item.identity

    @property
    def application(self) -> str:
        return self.item.application

    @property
    def outstanding(self) -> bool:
        return self.when != When.ON_FAILURE and self.state in {JobState.TO_RUN, JobState.RUNNING}


@dataclass(frozen=True, order=True)
class Unseen:
    """Objects of a kind that RBAC does not let us list: in a namespace, or in the whole cluster without one."""

    namespace: str
    group: str
    kind: str


@dataclass(frozen=True)
class Plan:
    """`repairs` and `forgotten` are what the inventory has to learn though no object changes."""

    environment: str
    commit: str
    items: tuple[PlanItem, ...]
    repairs: tuple[Entry, ...] = ()
    forgotten: tuple[Identity, ...] = ()
    released: tuple[Identity, ...] = ()
    """What another environment has taken over: it leaves the inventory, and stays as it is."""
    notes: tuple[str, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    """The applications that stay as they are, and why: `interlock.cd.advance` decides it."""
    over: tuple[str, ...] = ()
    """What is over the environment's budget, with the numbers: nothing is written then."""
    mark: str = ""
    """Names these changes for an allowance, whatever the commit."""
    covered: frozenset[str] = frozenset()
    """The changes that pass over the budget by an allowance, as `interlock.cd.budget` marks each."""
    jobs: tuple[ReleaseJob, ...] = ()
    """What runs once for a release; those that run now are among the items too."""
    standings: Mapping[str, int] = field(default_factory=dict)
    """Objects that live in the namespaces, by what they are: see `interlock.cd.strangers.Standing`."""
    unseen: tuple[Unseen, ...] = ()
    """What we may not look at."""

    @property
    def digest(self) -> str:
        """The same changes of the same objects at the same commit have the same digest.

        An object that was deleted and made again is another one. Nothing of a Secret's values is in it, not even
        hashed: the commit fixes what is desired, UID and version of the object fix what lives.
        """
        rows = [_digested(item) for item in self.items if item.action != Action.UNCHANGED]
        return digest(canonical([self.environment, self.commit, rows]))

    def having(self, *actions: Action) -> tuple[PlanItem, ...]:
        return tuple(item for item in self.items if item.action in actions)

    @property
    def writes(self) -> tuple[PlanItem, ...]:
        return self.having(*WRITES)

    @property
    def stops(self) -> tuple[PlanItem, ...]:
        return self.having(*STOPS)

    @property
    def drifted(self) -> tuple[PlanItem, ...]:
        """What somebody changed, foreign things included."""
        return tuple(
            item
            for item in self.items
            if item.drift or (item.action == Action.FOREIGN and not item.kept) or _foreign(item)
        )

    @property
    def put_back(self) -> tuple[tuple[Identity, Path, str], ...]:
        """What is taken back from others: object, path, and who had it."""
        return tuple(
            (item.identity, field.at, field.manager)
            for item in self.having(Action.CHANGE)
            for field in item.fields
            if item.drift and field.kind in {"drift", "removed"}
        )

    @property
    def leftovers(self) -> Plan:
        """What the commit itself has still to do after its sync, whoever has changed what since: to delete what did
        not go at once. What stops a plan stays in it.
        """
        items = self.having(Action.PRUNE, *STOPS)
        return replace(self, items=items, repairs=(), forgotten=(), released=(), jobs=())

    @property
    def kept(self) -> tuple[PlanItem, ...]:
        """What Git dropped and the environment still owns."""
        return tuple(item for item in self.items if item.kept)

    @property
    def outstanding(self) -> tuple[ReleaseJob, ...]:
        """The Jobs before and after releases that have to run, or do."""
        return tuple(job for job in self.jobs if job.outstanding)

    @property
    def running(self) -> tuple[ReleaseJob, ...]:
        """Those, and what runs when something fails."""
        return tuple(job for job in self.jobs if job.state in {JobState.TO_RUN, JobState.RUNNING})

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write or to wait for, neither objects nor inventory nor Jobs."""
        nothing = not (self.writes or self.stops or self.repairs or self.forgotten or self.released)
        return nothing and not self.outstanding

    @property
    def counts(self) -> dict[str, int]:
        return {action.value: n for action in Action if (n := len(self.having(action)))}


def _digested(item: PlanItem) -> list[object]:
    i, masked = item.identity, any(field.masked for field in item.fields)
    return [
        *(i.group, i.kind, i.namespace, i.name, item.action),
        *(["recreated"] if item.recreated else ()),
        item.uid,
        *([item.version] if masked else ()),
        *([f.path, _unmarked(f, f.live), _unmarked(f, f.desired), f.kind] for f in item.fields),
    ]


def _unmarked(field: FieldChange, value: str | None) -> str | None:
    """A mask as it is in every run."""
    return MASK if field.masked and value is not None else value


def _foreign(item: PlanItem) -> bool:
    return any(field.kind in {"foreign", "contested"} for field in item.fields)


@dataclass(frozen=True)
class Scope:
    """Whose plan it is. `again` says that this commit is deployed already: every difference is drift then."""

    environment: str
    environment_id: str
    commit: str
    control_namespace: str
    part_of: str
    undo: bool
    again: bool
    namespaces: tuple[str, ...]
    """May be taken when they exist already, without the right to prune them."""
    masking: bytes = b""
    """A random key of this run, by which masked values can be told apart; without one they all look alike."""
    guards: Guards = field(default_factory=Guards)
    elsewhere: Mapping[Identity, str] = field(default_factory=dict)
    """What leaves and must not be pruned, because something else of this commit will have it; with the reason."""
    covered: frozenset[str] = frozenset()
    """The changes with which a sync of this commit began, by the allowance that it has: what is left of them goes on.
    """
    conflicts: tuple[ConflictRule, ...] = ()
    take_over: tuple[TakeOver, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    claimed: Mapping[str, str] = field(default_factory=dict)
    """By namespace: the other environment of this cluster that has it at this commit."""
    given_away: Mapping[Identity, str] = field(default_factory=dict)
    """Of what leaves and is in no namespace: which other environment has it in Git at this commit."""
    lost: Lost | None = None
    """The cluster has no record of the environment."""
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By application: those that it waits for, also of what Git does not have any more."""
    contested: tuple[Contest, ...] = ()
    """Fields that somebody takes again and again, whose undo waits for now."""
    recreate: tuple[str, ...] = ()
    """Kinds whose objects are recreated when a field that never changes has to."""
    allowed: tuple[AllowedObject, ...] = ()
    """What may live in the namespaces though Git does not declare it."""
    policies: frozenset[str] = frozenset()
    """Admission policies of the environment's own lock, by name."""

    @property
    def manager(self) -> str:
        return f"interlock-{self.environment_id}"

    def owner_now(self, identity: Identity) -> str:
        """The other environment whose object it is at this commit; nothing when it is none's."""
        return self.claimed.get(place(identity), "") or self.given_away.get(identity, "")


@dataclass(frozen=True)
class Lost:
    """A record that is not there. `result` is the number of the ledger's newest healthy result, 0 without one;
    `reclaim` says that Git takes back what carries our label and claims.
    """

    result: int
    reclaim: bool


@dataclass(frozen=True)
class Wanted:
    """A desired object with what we know of it. `body` is what is applied, without what is left to others."""

    manifest: Manifest
    body: Body
    entry: Entry | None
    live: Body | None
    left: tuple[Yielded, ...] = ()
    reclaimed: bool = False
    """The inventory was lost, and the entry is made of what the object carries."""
    given: Given | None = None
    predecessors: tuple[str, ...] = ()
    """Field managers of other environments that have claims on it; in `live` they are ours already."""

    @property
    def declared(self) -> Body:
        """All that Git declares, what is left to others too."""
        stamp = {"part_of": label(self.body, PART_OF), "nonce": annotation(self.body, NONCE)}
        return stamped(self.manifest.body, **stamp) if self.left else self.body

    @property
    def identity(self) -> Identity:
        return self.manifest.identity

    def item(self, action: Action, reason: str = "", **more: object) -> PlanItem:
        base = PlanItem(self.identity, action, reason, application=self.manifest.application, body=self.body)
        if self.live:
            base = replace(base, uid=uid(self.live), version=version_of(self.live))
        return replace(base, **more) if more else base  # type: ignore[arg-type]


def wanted(manifest: Manifest, live: Body | None, inventory: Inventory, scope: Scope) -> Wanted:
    entry = inventory.get(manifest.identity)
    reclaimed = entry is None and live is not None and bool(scope.lost and scope.lost.reclaim) and was_ours(live, scope)
    if reclaimed and live:
        nonce, keep = annotation(live, NONCE), keeps(manifest.body)
        entry = Entry(manifest.identity, manifest.application, nonce, uid(live), keep=keep)
    nonce = entry.nonce if entry else NEW_NONCE
    left = _left(manifest, live, scope) if live and (scope.conflicts or scope.contested) else ()
    body = conflicts.without(manifest.body, (each.path for each in left)) if left else manifest.body
    body = stamped(body, part_of=scope.part_of, nonce=nonce)
    return Wanted(manifest, body, entry, live, left, reclaimed=reclaimed)


def _left(manifest: Manifest, live: Body, scope: Scope) -> tuple[Yielded, ...]:
    identity = manifest.identity
    allowed = conflicts.left(manifest.body, live, identity, scope.conflicts, manager=scope.manager)
    paths = {each.path for each in allowed}
    contested = contest.left(manifest.body, live, identity, scope.contested, manager=scope.manager)
    return (*allowed, *(each for each in contested if each.path not in paths))


def was_ours(live: Body, scope: Scope) -> bool:
    """Whether an object carries all that we leave on one: label, nonce, and the claims of our Apply."""
    stamped_ = label(live, PART_OF) == scope.part_of and annotation(live, NONCE) != ""
    return stamped_ and compare.ours(live, scope.manager) is not None and not controlled(live)


def handed(want: Wanted, given: Given | None, scope: Scope) -> Wanted:
    """The same, with the claims of other environments seen as ours, where the object is ours or was given to us."""
    given = given if given and want.live and given.entry.means(want.live) else None
    want = replace(want, given=given, predecessors=())
    if want.live is None or not _may_write(want, want.live, scope):
        return want
    predecessors = left_claims(want.live, [each.manager for each in scope.neighbours])
    live = as_taken(want.live, scope.manager, predecessors) if predecessors else want.live
    return replace(want, predecessors=predecessors, live=live)


def is_stranger(want: Wanted, scope: Scope) -> bool:
    return want.live is not None and not _may_write(want, want.live, scope)


class Look(StrEnum):
    """What a first look without the server says."""

    SETTLED = "settled"
    ASK = "ask"
    NOT_OURS = "not ours"


def look(want: Wanted, scope: Scope) -> Look:
    if want.live is None:
        return Look.ASK
    if not _may_write(want, want.live, scope):
        return Look.NOT_OURS
    handed_over = want.given or want.predecessors
    if not handed_over and compare.settled(want.body, want.live, scope.manager) and not _replaced(want):
        return Look.SETTLED
    return Look.ASK


def _may_write(want: Wanted, live: Body, scope: Scope) -> bool:
    """Something that lives is ours by inventory, by the nonce of an intent, as the environment's own namespace, by a
    commit that takes it over, or because Git gave it to us and another environment's inventory has it.
    """
    if want.given:
        return True
    if _unowned(want, live):
        own = want.identity.kind == "Namespace" and want.identity.name in scope.namespaces
        return own or take_over.taken(scope.take_over, want.identity, live) is not None
    return True


def _unowned(want: Wanted, live: Body) -> bool:
    return want.entry is None or _stranger(want.entry, live)


def taking(want: Wanted, scope: Scope) -> TakeOver | None:
    """The entry of Git by which an object that somebody else made becomes ours now; None when it is ours already."""
    if want.live is None or want.given or not _unowned(want, want.live):
        return None
    return take_over.taken(scope.take_over, want.identity, want.live)


def _stranger(entry: Entry, live: Body) -> bool:
    """Whether an intent met an object that does not carry its nonce."""
    return not entry.uid and annotation(live, NONCE) != entry.nonce


def _replaced(want: Wanted) -> bool:
    return bool(want.entry and want.entry.uid and want.live and uid(want.live) != want.entry.uid)


def not_ours(want: Wanted, scope: Scope) -> PlanItem:
    assert want.live is not None  # noqa: S101 - something lives that is not ours
    if scope.lost and was_ours(want.live, scope):
        line = f'`reclaim: {{result: {scope.lost.result}, reason: "…"}}`'
        reason = f"carries our label and claims, and the record was lost: take it back by {line} in environment.yaml"
        return want.item(Action.BLOCKED, reason)
    former = take_over.former(want.live)
    if take_over.named(scope.take_over, want.identity):
        why = f"exists and is not the object that `take_over` names by its UID: this one is {uid(want.live)}"
        return want.item(Action.BLOCKED, why, former=former, whose="a stranger's")
    made = take_over.origins(want.live)
    by = f", but made by {' and '.join(made)}" if made else ""
    command = f"interlock take-over {scope.environment} {subject(want.identity)}"
    return want.item(
        Action.BLOCKED,
        f"exists and is not ours{by}: take it over ({command}), delete or rename it, or take it out of Git",
        former=former,
        whose="a stranger's",
    )


def refused(want: Wanted, error: ClusterError) -> PlanItem:
    """The server's answer to a dry run as an item: a failed comparison is unknown, never in sync."""
    if error.transient or not error.status:
        return want.item(Action.UNKNOWN, f"could not be compared: {error.message}")
    if error.status == 422 and immutable.said(error.message):
        return want.item(Action.IMMUTABLE, error.message)
    return want.item(Action.BLOCKED, error.message.removeprefix(f"{subject(want.identity)}: "))


def fixed(want: Wanted, scope: Scope, refusal: str = "") -> PlanItem | None:
    """What becomes of an object that would have to change a field that never changes; None when it would not.

    `refusal` is what the server said of it where the table does not know the field.
    """
    live = want.live
    assert live is not None  # noqa: S101 - what does not live has no field yet
    paths = immutable.moved(want.identity, want.body, live)
    if not paths and not refusal:
        return None
    fields = tuple(_changed(_difference(want, live, path), want, live, scope) for path in paths)
    why = immutable.told(want.identity, paths, refusal)
    if hindrance := immutable.hindrance(want.identity, live, want.entry, scope.recreate):
        return want.item(Action.IMMUTABLE, f"{why}: {hindrance}", fields=fields)
    drift = any(field.kind == "drift" for field in fields)
    return want.item(Action.CHANGE, f"recreated: {why}", fields=fields, drift=drift, recreated=True)


def _difference(want: Wanted, live: Body, path: Path) -> compare.Difference:
    return compare.Difference(path, reach(live, path), reach(want.body, path))


def new(want: Wanted) -> PlanItem:
    """An object that the server would make."""
    deleted = want.entry is not None and bool(want.entry.uid)
    return want.item(Action.CREATE, "deleted by somebody" if deleted else "", drift=deleted)


def decided(want: Wanted, predicted: Body, scope: Scope) -> PlanItem:
    """What an apply would do to a living object, by the server's own answer."""
    item = _decided(want, predicted, scope)
    if not (want.given or want.predecessors) or item.action not in {Action.UNCHANGED, Action.CHANGE}:
        return item
    giver = f"environment {want.given.neighbour.name}" if want.given else ", ".join(want.predecessors)
    reason = f"taken over from {giver}"
    entry = want.given.entry if want.given else None
    return replace(item, action=Action.CHANGE, reason=reason, given=entry, predecessors=want.predecessors)


def foreseen(want: Wanted, scope: Scope) -> PlanItem:
    """What an apply would do to a living object that the server refuses until the definition of its kind has changed,
    which this very plan does first. What the apply takes away is not foreseen.
    """
    assert want.live is not None  # noqa: S101 - a new object has nothing to be laid over
    item = decided(want, take_over.expected(want.live, (), want.body), scope)
    if item.action not in {Action.UNCHANGED, Action.CHANGE}:
        return item
    return replace(item, action=Action.CHANGE, reason=item.reason or "once the definition of its kind has changed")


def _decided(want: Wanted, predicted: Body, scope: Scope) -> PlanItem:
    live = want.live
    assert live is not None  # noqa: S101 - a new object has no prediction to compare
    found = compare.differences(live, predicted)
    changed = tuple(_changed(each, want, live, scope) for each in found if not _our_stamp(each))
    reason = ""
    if _replaced(want):
        reason = "replaced by another object of the same name"
    elif not changed:
        if not found and not compare.ownership_changes(live, predicted, scope.manager):
            return want.item(Action.UNCHANGED)
        reason = "our label or our claim on its fields was taken away" if want.entry else "taken into the environment"
    by_others = any(field.kind == "drift" for field in changed) or _replaced(want)
    forced: tuple[str, ...] = ()
    if by_others and not scope.undo and not scope.again:
        forced, refused = _decided_by_rules(found, want, live, scope)
        if refused or _replaced(want):
            return want.item(Action.CONFLICT, conflict_reason(refused), fields=changed)
    drift = by_others or (scope.again and want.entry is not None)
    return want.item(Action.CHANGE, reason, fields=changed, drift=drift, forced=forced)


def taken_over(
    want: Wanted, predicted: Body, things: tuple[foreign.Unexplained, ...], entry: TakeOver, scope: Scope
) -> PlanItem:
    """A living object that becomes ours: Git's fields are forced, and of what nobody declares goes what only the
    former managers put there. `things` is all that nobody declares.
    """
    live = want.live
    assert live is not None  # noqa: S101 - only what lives can be taken over
    former = take_over.former(live, entry)
    going = take_over.leaving(things, live, former)
    changed = (
        _changed(each, want, live, scope) for each in compare.differences(live, predicted) if not _our_stamp(each)
    )
    gone = {spell(thing.path) for thing in things}
    fields = [replace(field, kind="change") for field in changed if field.path not in gone]
    fields += [
        _foreign_field(want.identity, each, live, scope, kind="removed" if each in going else "foreign")
        for each in things
    ]
    return want.item(
        Action.CHANGE, take_over.reason(live), fields=tuple(fields), removals=going, former=former, whose="taken over"
    )


def _decided_by_rules(
    found: Iterable[compare.Difference], want: Wanted, live: Body, scope: Scope
) -> tuple[tuple[str, ...], tuple[tuple[Path, compare.Claim | None], ...]]:
    """Of the fields that others have: those that a rule forces, as the server spells them, and the rest with whoever
    has them.
    """
    forced: list[str] = []
    refused: list[tuple[Path, compare.Claim | None]] = []
    for each in found:
        claim = compare.claimant(live, each.path, manager=scope.manager)
        if _our_stamp(each) or claim is None or compare.held(live, each.path, manager=scope.manager):
            continue
        rule = conflicts.rule_for(scope.conflicts, want.identity, each.path, claim.manager)
        if rule and rule.decision == "force":
            forced.append(conflicts.spelled_by_server(each.path))
        else:
            refused.append((each.path, claim))
    return tuple(forced), tuple(refused)


def conflict_reason(refused: Iterable[tuple[Path, compare.Claim | None]]) -> str:
    """Who has which field, and what can be decided about it."""
    holders: dict[str, list[str]] = {}
    for path, claim in refused:
        holders.setdefault(conflicts.told(claim), []).append(spell(path))
    if not holders:
        return "another object of the same name is there"
    told = "; ".join(f"{who} has {', '.join(sorted(fields))}" for who, fields in sorted(holders.items()))
    return f"{told}: commit his value, or decide in environment.yaml (conflicts: force or leave)"


def _our_stamp(difference: compare.Difference) -> bool:
    """Whether it is only about our own label or nonce, which are nobody's desire."""
    if difference.path in {("metadata", "labels"), ("metadata", "annotations")} and isinstance(difference.after, dict):
        return difference.before is MISSING and difference.after.keys() <= {PART_OF, NONCE}
    return difference.path in {("metadata", "labels", PART_OF), ("metadata", "annotations", NONCE)}


def _changed(difference: compare.Difference, want: Wanted, live: Body, scope: Scope) -> FieldChange:
    claim = compare.claimant(live, difference.path, manager=scope.manager)
    mine = compare.held(live, difference.path, manager=scope.manager)
    drift = scope.again or (claim is not None and mine is None)
    owner = claim if drift else mine
    return _field(want.identity, difference, "drift" if drift else "change", owner, scope)


def _field(
    identity: Identity, difference: compare.Difference, kind: FieldKind, owner: compare.Claim | None, scope: Scope
) -> FieldChange:
    path = difference.path
    return FieldChange(
        path=spell(path),
        live=shown(identity, path, difference.before, key=scope.masking),
        desired=shown(identity, path, difference.after, key=scope.masking),
        manager=owner.manager if owner else "",
        time=owner.time if owner else "",
        kind=kind,
        operation=owner.operation if owner else "",
        at=path,
        masked=_secret(identity, path),
    )


def with_foreign(
    item: PlanItem, found: Iterable[foreign.Unexplained], live: Body, scope: Scope, *, sure: bool = True
) -> PlanItem:
    """An item with the foreign things that live in its object, but for what the item changes anyway.

    They go when the environment undoes drift; not when it is not `sure` that they are foreign.
    """
    changed = {field.path for field in item.fields}
    things = tuple(
        thing for thing in found if not any(spell(thing.path[:n]) in changed for n in range(1, len(thing.path) + 1))
    )
    item, things = _without_allowed(item, things, live, scope)
    if not things:
        return item
    goes = scope.undo and sure and item.action in {Action.UNCHANGED, Action.CHANGE, Action.FOREIGN}
    fought = {each.path: each for each in scope.contested if each.identity == item.identity}
    waits = tuple(thing for thing in things if goes and spell(thing.path) in fought)
    removals = tuple(thing for thing in things if goes and foreign.removable(thing) and thing not in waits)
    fields = tuple(
        _foreign_field(
            item.identity,
            thing,
            live,
            scope,
            kind="contested" if thing in waits else "removed" if thing in removals else "foreign",
        )
        for thing in things
    )
    item = replace(item, fields=(*item.fields, *fields), removals=removals, drift=item.drift or bool(removals))
    item = replace(item, reason="; ".join([item.reason, *(fought[spell(t.path)].told for t in waits)]).strip("; "))
    if item.action == Action.CHANGE or item.action in STOPS:
        return item
    if removals:
        return replace(item, action=Action.CHANGE, applied=False, reason=item.reason or "holds what nobody declared")
    return replace(item, action=Action.FOREIGN)


def _without_allowed(
    item: PlanItem, things: tuple[foreign.Unexplained, ...], live: Body, scope: Scope
) -> tuple[PlanItem, tuple[foreign.Unexplained, ...]]:
    """The item with what a rule leaves to an opponent shown as allowed, and the other things."""
    rules = tuple(rule for rule in scope.conflicts if conflicts.speaks_of(rule, item.identity))
    if not rules:
        return item, things
    things = conflicts.parted(things, [parse(rule.path) for rule in rules])
    found = [(t, conflicts.allowed(t, live, item.identity, rules, manager=scope.manager)) for t in things]
    shown_ = tuple(_yielded_field(item.identity, each, live, thing.default, scope) for thing, each in found if each)
    return replace(item, fields=(*item.fields, *shown_)), tuple(thing for thing, each in found if each is None)


def with_left(item: PlanItem, want: Wanted, scope: Scope) -> PlanItem:
    """An item with the declared fields that are left to others."""
    if not want.left or want.live is None:
        return item
    fields = tuple(
        _yielded_field(item.identity, each, want.live, reach(want.manifest.body, each.path), scope)
        for each in want.left
    )
    item = replace(item, fields=(*item.fields, *fields))
    if not (fought := [each.reason for each in want.left if each.kind == "contested"]):
        return item
    item = replace(item, reason="; ".join([item.reason, *fought]).strip("; "))
    return replace(item, action=Action.FOREIGN) if item.action == Action.UNCHANGED else item


def _yielded_field(identity: Identity, yielded: Yielded, live: Body, desired: object, scope: Scope) -> FieldChange:
    difference = compare.Difference(yielded.path, reach(live, yielded.path), desired)
    return _field(identity, difference, yielded.kind, yielded.claim, scope)


def _foreign_field(
    identity: Identity, thing: foreign.Unexplained, live: Body, scope: Scope, *, kind: FieldKind
) -> FieldChange:
    claim = compare.claimant(live, thing.path, manager=scope.manager)
    difference = compare.Difference(thing.path, thing.value, thing.default)
    return _field(identity, difference, kind, claim, scope)


_MOST_SHOWN = 240
_OPEN_OF_SECRETS = frozenset({"apiVersion", "kind", "type", "immutable"})
_OPEN_METADATA = frozenset({"name", "namespace", "labels", "finalizers", "ownerReferences"})


def shown(identity: Identity, path: Path, value: object, *, key: bytes = b"") -> str | None:
    """A value for people; of what a Secret holds a mask, which tells neither content nor length.

    With a key equal values have equal masks, and different ones different masks; the key must be of this run alone,
    so that nobody can try values against a mask.
    """
    if value is MISSING:
        return None
    if _secret(identity, path):
        return _mask(value, key)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _secret(identity: Identity, path: Path) -> bool:
    """Whether a value is not for showing: all of a Secret but what only describes it.

    An annotation may hold the whole object, as `kubectl apply` writes it.
    """
    if (identity.group, identity.kind) != ("", "Secret"):
        return False
    if path[:1] == ("metadata",):
        return not _OPEN_METADATA.intersection(path[1:2])
    return not _OPEN_OF_SECRETS.intersection(path[:1])


def _mask(value: object, key: bytes) -> str:
    if not key:
        return MASK
    return f"{MASK} {hashlib.blake2b(encoded(value), digest_size=4, key=key).hexdigest()}"


# what is not ours or not as noted ------------------------------------------------------------------


def entered(entry: Entry, manifest: Manifest, live: Body) -> bool:
    """Whether the inventory is right about an object: there is nothing to repair."""
    return bool(
        entry.uid == live["metadata"]["uid"]
        and entry.application == manifest.application
        and entry.keep == keeps(manifest.body)
    )


def repaired(want: Wanted) -> Entry | None:
    """The entry as it ought to be, when it is not: an intent was fulfilled, an object was replaced or moved."""
    if want.entry is None or want.live is None or _stranger(want.entry, want.live):
        return None
    adopted = want.entry.adopted or _replaced(want)
    application, keep = want.manifest.application, keeps(want.manifest.body)
    now = application, uid(want.live), adopted, keep
    if now == (want.entry.application, want.entry.uid, want.entry.adopted, want.entry.keep) and not want.reclaimed:
        return None
    return replace(want.entry, application=application, uid=uid(want.live), adopted=adopted, keep=keep)


def reasons(items: Iterable[PlanItem]) -> tuple[str, ...]:
    """One line an item, for an error."""
    return tuple(f"{subject(item.identity)}: {item.action}: {item.reason}" for item in items)
