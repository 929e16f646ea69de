"""What earlier plans found: objects that are as Git says, with nothing foreign in them. A cache, and no more.

A verdict stands in for the comparison only where nothing that it rests on has moved: the object's UID and version, the
bytes that are desired, and, for all of them together, cluster, policy and code. All are found anew once a day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from interlock.cd.control import COMMON
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.living import Living, Objects
from interlock.cd.objects import Body, group_of
from interlock.cd.plan import Action, PlanItem, Scope, Wanted, entered
from interlock.contract.canonical import canonical, digest
from interlock.contract.manifest import Manifest
from interlock.contract.render import Identity

FULL_SECONDS = 24 * 3600
"""How long verdicts are believed."""


@dataclass(frozen=True)
class Verdicts:
    """By object UID: its version, and what was desired of it. `since` is a UNIX time."""

    ground: str
    since: float
    known: Mapping[str, str] = field(default_factory=dict)
    seen: int = 0
    """The newest resourceVersion of the LISTs that they are of."""

    def holds(self, live: Body, wanted: str) -> bool:
        """Whether this version of this object was found to be as wanted."""
        version = self.version_as(wanted, live["metadata"]["uid"])
        return version != "" and version == _version(live)

    def version_as(self, wanted: str, uid: str) -> str:
        """The version of an object that was found to be as wanted; empty when none was."""
        said, _, version = self.known.get(uid, "").partition(_AT)
        return version if said == wanted else ""

    def at(self, oldest: int) -> Verdicts:
        """Those that still count when the oldest LIST is of this version: none when the server went back.

        After etcd was restored from a backup, versions that we remember are given anew, to other contents.
        """
        return replace(self, known={}) if oldest < self.seen else self


def verdict(live: Body, wanted: str) -> tuple[str, str]:
    """What to remember of an object that is as wanted."""
    return live["metadata"]["uid"], f"{wanted}{_AT}{_version(live)}"


_AT = " @ "
_BUILT_IN = frozenset(group_of(version) for version, _, _ in COMMON)


@lru_cache
def _is_built_in(api_version: str) -> bool:
    return group_of(api_version) in _BUILT_IN


def _version(live: Body) -> str:
    """Its resourceVersion. A custom object reads as another one when its definition changes, though nobody wrote it:
    fields are defaulted and pruned as it is read. So its content counts too. Nothing for what somebody nested too
    deeply for that: it is never remembered.
    """
    version = str(live["metadata"]["resourceVersion"])
    if _is_built_in(live.get("apiVersion", "")):
        return version
    try:
        return f"{version} {digest(canonical({**live, 'metadata': live['metadata']['uid']}))}"
    except RecursionError:
        return ""


def _version_of(live: Living) -> str:
    """The same, which of most objects is known without decoding it."""
    return live.version if _is_built_in(live.api_version) else _version(live.body)


def ground(scope: Scope, *, server: str, version: str, code: str) -> str:
    """All that every verdict of a plan rests on: API server and version, for its defaults; policy and code."""
    rules = [rule.model_dump(mode="json") for rule in scope.conflicts]
    policy = [scope.environment_id, scope.part_of, scope.undo, rules]
    return digest(canonical([server, version, code, policy]))


def wanted(manifest: Manifest, entry: Entry, *, scaled: bool) -> str:
    """What is desired of an object, and what the inventory says of it, in a word."""
    return f"{manifest.fingerprint} {entry.nonce} {scaled:d} {entry.keep:d} {entry.application}"


def read(data: bytes, *, ground: str, now: float) -> Verdicts:
    """What `write` wrote, when it rests on the same ground and is young enough; else none."""
    try:
        value: Any = orjson.loads(data)
        if value["ground"] == ground and 0 <= now - value["since"] < FULL_SECONDS:
            return Verdicts(ground, value["since"], value["known"], value["seen"])
    except (ValueError, KeyError, TypeError):
        pass  # a cache that cannot be read is no cache
    return Verdicts(ground, now)


def write(verdicts: Verdicts) -> bytes:
    known = {"known": verdicts.known, "seen": verdicts.seen}
    return orjson.dumps({"ground": verdicts.ground, "since": verdicts.since, **known})


# a plan's way through them ---------------------------------------------------------------------------


class Expected(NamedTuple):
    """What becomes of an object if it is of this version still."""

    version: str
    item: PlanItem


def expected(
    verdicts: Verdicts, manifests: Iterable[Manifest], inventory: Inventory, scaled: Collection[Identity]
) -> Mapping[Identity, Expected]:
    """What may be recalled, as far as that can be said before anything was looked at.

    `scaled` are those that an autoscaler may scale.
    """
    found: dict[Identity, Expected] = {}
    for manifest in manifests:
        identity = manifest.identity
        entry = inventory.get(identity)
        if entry is None or entry.application != manifest.application:
            continue
        if version := verdicts.version_as(wanted(manifest, entry, scaled=identity in scaled), entry.uid):
            item = PlanItem.unchanged(identity, application=entry.application, uid=entry.uid)
            found[identity] = Expected(version, item)
    return found


@dataclass(frozen=True)
class Recalled:
    """What a plan need not compare, as items and as verdicts to remember on; `rest` it has to."""

    items: tuple[PlanItem, ...]
    known: Mapping[str, str]
    rest: tuple[Manifest, ...]


def recall(
    verdicts: Verdicts,
    hoped: Mapping[Identity, Expected],
    manifests: Sequence[Manifest],
    live: Objects,
) -> Recalled:
    """Desired objects by whether what was `hoped` for is so. A loop, because a large plan spends its time here."""
    if not verdicts.known:
        return Recalled((), {}, tuple(manifests))
    items: list[PlanItem] = []
    rest: list[Manifest] = []
    for manifest in manifests:
        identity = manifest.identity
        found, hope = live.living(identity), hoped.get(identity)
        if found and hope and found.uid == hope.item.uid and _version_of(found) == hope.version:
            items.append(hope.item)
        else:
            rest.append(manifest)
    return Recalled(tuple(items), {item.uid: verdicts.known[item.uid] for item in items}, tuple(rest))


def learned(wants: Iterable[Wanted], items: Iterable[PlanItem], scaled: Collection[Identity]) -> Mapping[str, str]:
    """What is worth remembering of a comparison: unchanged, nothing foreign, and the inventory is right about it."""
    return dict(
        verdict(want.live, wanted(want.manifest, want.entry, scaled=want.identity in scaled))
        for want, item in zip(wants, items, strict=True)
        if item.action == Action.UNCHANGED
        and not item.fields
        and want.live
        and want.entry
        and entered(want.entry, want.manifest, want.live)
    )
