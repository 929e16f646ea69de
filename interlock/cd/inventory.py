"""The objects that an environment owns: identity, UID, and the nonce that claims an object after a crash."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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

    def means(self, live: Body) -> bool:
        """Whether what lives is this very object: by UID, or by the nonce of an intent."""
        return uid(live) == self.uid if self.uid else annotation(live, NONCE) == self.nonce


@dataclass(frozen=True)
class Inventory:
    entries: Mapping[Identity, Entry]
    shards: int = 1
    """How many parts it was stored in; more only when it grows."""

    @classmethod
    def of(cls, entries: Iterable[Entry] = ()) -> Inventory:
        found = {entry.identity: entry for entry in sorted(entries, key=lambda entry: entry.identity)}
        return cls(found, max(1, -(-len(found) // ENTRIES_PER_SHARD)))

    def get(self, identity: Identity) -> Entry | None:
        return self.entries.get(identity)

    def with_entries(self, entries: Iterable[Entry]) -> Inventory:
        return Inventory.of({**self.entries, **{entry.identity: entry for entry in entries}}.values())

    def without(self, identities: Iterable[Identity]) -> Inventory:
        gone = frozenset(identities)
        return Inventory.of(entry for identity, entry in self.entries.items() if identity not in gone)

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


def encode(inventory: Inventory) -> tuple[str, ...]:
    """One base64 text per shard. The same entries give the same bytes, so that unchanged shards are not written."""
    parts: list[list[Entry]] = [[] for _ in range(inventory.shards)]
    for entry in inventory.entries.values():
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
    return Inventory({entry.identity: entry for entry in sorted(entries, key=lambda e: e.identity)}, len(texts) or 1)


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
    return [*row, *([True] if entry.keep else []), *([entry.result] if entry.result else [])]


def _entry(row: list[Any]) -> Entry:
    group, kind, namespace, name, application, nonce, uid, adopted, *more = row
    result = next((each for each in more if isinstance(each, str)), "")
    identity = Identity(group, kind, namespace, name)
    return Entry(identity, application, nonce, uid, bool(adopted), keep=True in more, result=result)
