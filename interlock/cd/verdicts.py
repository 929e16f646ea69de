"""What earlier plans found: objects that are as Git says, with nothing foreign in them. A cache, and no more.

A verdict stands in for the comparison only where nothing that it rests on has moved: the object's UID and version, the
bytes that are desired, and, for all of them together, cluster, policy and code. All are found anew once a day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from interlock.cd.control import COMMON
from interlock.cd.inventory import Entry, Inventory
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
        return self.known.get(live["metadata"]["uid"]) == f"{_version(live)} {wanted}"

    def at(self, oldest: int) -> Verdicts:
        """Those that still count when the oldest LIST is of this version: none when the server went back.

        After etcd was restored from a backup, versions that we remember are given anew, to other contents.
        """
        return replace(self, known={}) if oldest < self.seen else self


def verdict(live: Body, wanted: str) -> tuple[str, str]:
    """What to remember of an object that is as wanted."""
    return live["metadata"]["uid"], f"{_version(live)} {wanted}"


_BUILT_IN = frozenset(group_of(version) for version, _, _ in COMMON)


def _version(live: Body) -> str:
    """Its resourceVersion. A custom object reads as another one when its definition changes, though nobody wrote it:
    fields are defaulted and pruned as it is read. So its content counts too.
    """
    version = str(live["metadata"]["resourceVersion"])
    if group_of(live.get("apiVersion", "")) in _BUILT_IN:
        return version
    return f"{version} {digest(canonical({**live, 'metadata': live['metadata']['uid']}))}"


def ground(scope: Scope, *, server: str, version: str, code: str) -> str:
    """All that every verdict of a plan rests on: API server and version, for its defaults; policy and code."""
    rules = [rule.model_dump(mode="json") for rule in scope.conflicts]
    policy = [scope.environment_id, scope.part_of, scope.undo, rules]
    return digest(canonical([server, version, code, policy]))


def wanted(manifest: Manifest, entry: Entry, *, scaled: bool) -> str:
    """What is desired of an object, in a word."""
    return f"{manifest.fingerprint} {entry.nonce} {int(scaled)}"


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


@dataclass(frozen=True)
class Recalled:
    """What a plan need not compare, as items and as verdicts to remember on; `rest` it has to."""

    items: tuple[PlanItem, ...]
    known: Mapping[str, str]
    rest: tuple[Manifest, ...]


def recall(
    verdicts: Verdicts,
    manifests: Iterable[Manifest],
    live: Mapping[Identity, Body],
    inventory: Inventory,
    scaled: Collection[Identity],
) -> Recalled:
    """Desired objects by whether their verdict still holds; `scaled` are those that an autoscaler may scale."""
    items: list[PlanItem] = []
    rest: list[Manifest] = []
    known: dict[str, str] = {}
    for manifest in manifests:
        identity = manifest.identity
        body, entry = live.get(identity), inventory.get(identity)
        if body and entry and entered(entry, manifest, body):
            wish = wanted(manifest, entry, scaled=identity in scaled)
            if verdicts.holds(body, wish):
                items.append(PlanItem.unchanged(identity, application=entry.application, uid=entry.uid))
                known[entry.uid] = verdicts.known[entry.uid]
                continue
        rest.append(manifest)
    return Recalled(tuple(items), known, tuple(rest))


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
