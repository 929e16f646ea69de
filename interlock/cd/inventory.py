"""The objects that an environment owns: identity, UID, and the nonce that claims an object after a crash."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.cd.objects import NONCE, Body, annotation, uid
from interlock.contract.canonical import canonical
from interlock.contract.render import Identity
from interlock.errors import Refused

ENTRIES_PER_SHARD = 4_000
"""A ConfigMap of 1 MiB holds about 15,000; a quarter leaves room for long names."""


@dataclass(frozen=True)
class Entry:
    """One object. Without a UID it is an intent: we were about to make it, or made it and did not live to note it."""

    identity: Identity
    application: str
    nonce: str
    uid: str = ""
    adopted: bool = False
    """Was there before us, or was replaced behind our back: kept up to date, pruned only when it is confirmed."""
    keep: bool = False
    """The manifest that was applied last says that the object stays when Git drops it."""
    result: str = ""
    """How a release Job of this UID ended; it is known after the Job itself is gone."""
    turn: int = 0
    """Of a run that is remembered: a later one has a higher number."""

    def means(self, live: Body) -> bool:
        """Whether what lives is this very object: by UID, or by the nonce of an intent."""
        return uid(live) == self.uid if self.uid else annotation(live, NONCE) == self.nonce


SUCCEEDED = "succeeded"
RUNS_PER_JOB = 10
"""Of how many former releases it is remembered that a Job ran."""


@dataclass(frozen=True)
class Inventory:
    entries: Mapping[Identity, Entry]
    shards: int = 1
    """How many parts it was stored in; more only when it grows."""
    ran: Mapping[Identity, Entry] = field(default_factory=dict)
    """Jobs of former releases that succeeded and are gone. They are no members: a release that comes back ran them."""

    @classmethod
    def of(cls, entries: Iterable[Entry] = (), *, ran: Mapping[Identity, Entry] | None = None) -> Inventory:
        found = {entry.identity: entry for entry in sorted(entries, key=lambda entry: entry.identity)}
        past = ran or {}
        return cls(found, max(1, -(-(len(found) + len(past)) // ENTRIES_PER_SHARD)), past)

    def get(self, identity: Identity) -> Entry | None:
        return self.entries.get(identity)

    def with_entries(self, entries: Iterable[Entry]) -> Inventory:
        return Inventory.of({**self.entries, **{entry.identity: entry for entry in entries}}.values(), ran=self.ran)

    def without(self, identities: Iterable[Identity]) -> Inventory:
        gone = frozenset(identities)
        return Inventory.of((e for identity, e in self.entries.items() if identity not in gone), ran=self.ran)

    def remembering(self, gone: Iterable[Identity], applications: Collection[str]) -> Inventory:
        """Without what is gone; of Jobs that succeeded for one of these applications, that they ran is remembered.

        An application that Git does not have any more begins anew when it comes back: what its Jobs did may be gone.
        """
        left = frozenset(gone)
        turn = max((entry.turn for entry in self.ran.values()), default=0) + 1
        new = {i: replace(self.entries[i], turn=turn) for i in left & self.entries.keys() if self.entries[i].result}
        past = {i: e for i, e in {**self.ran, **new}.items() if e.application in applications}
        return Inventory.of(self.without(left).entries.values(), ran=_newest(past.values()))

    def noted(self, uids: Mapping[Identity, str]) -> Inventory:
        """With the UIDs that the server gave."""
        return self.with_entries(
            replace(self.entries[identity], uid=uid) for identity, uid in uids.items() if identity in self.entries
        )

    def judged(self, results: Mapping[Identity, str]) -> Inventory:
        """With how release Jobs ended."""
        return self.with_entries(
            replace(self.entries[identity], result=result)
            for identity, result in results.items()
            if identity in self.entries
        )

    @property
    def group_kinds(self) -> tuple[str, ...]:
        """`Deployment.apps`, `Service`: as KEP-3659 writes what a set contains."""
        return tuple(sorted({f"{i.kind}.{i.group}".rstrip(".") for i in self.entries}))

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted({identity.namespace for identity in self.entries if identity.namespace}))


def _newest(runs: Iterable[Entry]) -> Mapping[Identity, Entry]:
    """Of each Job those of its last releases: its name without the release's digest tells which belong together."""
    by_job: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in sorted(runs, key=lambda each: (each.turn, each.identity), reverse=True):
        if entry.result == SUCCEEDED:
            key = entry.application, entry.identity.namespace, entry.identity.name.rpartition("-")[0]
            by_job.setdefault(key, []).append(entry)
    kept = (entry for found in by_job.values() for entry in found[:RUNS_PER_JOB])
    return {entry.identity: entry for entry in sorted(kept, key=lambda each: each.identity)}


def encode(inventory: Inventory) -> tuple[str, ...]:
    """One base64 text per shard. The same entries give the same bytes, so that unchanged shards are not written."""
    parts: list[list[Entry]] = [[] for _ in range(inventory.shards)]
    for entry in (*inventory.entries.values(), *inventory.ran.values()):
        parts[_shard(entry.identity, inventory.shards)].append(entry)
    return tuple(base64.b64encode(zlib.compress(canonical([_row(e) for e in part]), 6)).decode() for part in parts)


def decode(shards: Iterable[str]) -> Inventory:
    """What `encode` wrote; Refused when it is not that: an inventory is never guessed."""
    texts = tuple(shards)
    try:
        rows = [row for text in texts for row in json.loads(_inflated(text))]
        entries = [_entry(row) for row in rows]
    except (ValueError, zlib.error, TypeError, KeyError) as error:
        raise Refused(
            f"the inventory cannot be read: {type(error).__name__}",
            rule="record-damaged",
            hint="restore the environment's control namespace from a backup; nothing was changed",
        ) from None
    ordered = sorted(entries, key=lambda entry: entry.identity)
    members, past = ({e.identity: e for e in ordered if bool(e.turn) is gone} for gone in (False, True))
    return Inventory(members, len(texts) or 1, past)


_MOST_BYTES = 32 << 20


def _inflated(text: str) -> bytes:
    machine = zlib.decompressobj()
    data = machine.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
    if machine.unconsumed_tail or not machine.eof:
        raise ValueError("more than an inventory can be")
    return data


def _shard(identity: Identity, shards: int) -> int:
    name = canonical([identity.group, identity.kind, identity.namespace, identity.name])
    return int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % shards


def _row(entry: Entry) -> list[object]:
    i = entry.identity
    row: list[object] = [i.group, i.kind, i.namespace, i.name, entry.application, entry.nonce, entry.uid, entry.adopted]
    turn = [entry.turn] if entry.turn else []
    return [*row, *([True] if entry.keep else []), *([entry.result] if entry.result else []), *turn]


def _entry(row: list[Any]) -> Entry:
    group, kind, namespace, name, application, nonce, uid, adopted, *more = row
    result = next((each for each in more if isinstance(each, str)), "")
    turn = next((each for each in more if type(each) is int), 0)
    keep = any(each is True for each in more)
    identity = Identity(group, kind, namespace, name)
    return Entry(identity, application, nonce, uid, bool(adopted), keep=keep, result=result, turn=turn)
