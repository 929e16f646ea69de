"""What earlier plans found: objects that are as Git says, with nothing foreign in them. A cache, and no more.

A verdict stands in for the comparison only where nothing that it rests on has moved: the object's UID and version, the
bytes that are desired, and, for all of them together, cluster, policy and code. All are found anew once a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from interlock.cd.objects import Body
from interlock.contract.canonical import canonical, digest

if TYPE_CHECKING:
    from interlock.cd.inventory import Entry
    from interlock.cd.plan import Scope
    from interlock.contract.manifest import Manifest

FULL_SECONDS = 24 * 3600
"""How long verdicts are believed."""


@dataclass(frozen=True)
class Verdicts:
    """By object UID: its resourceVersion, and what was desired of it. `since` is a UNIX time."""

    ground: str
    since: float
    known: Mapping[str, str] = field(default_factory=dict)

    def holds(self, live: Body, wanted: str) -> bool:
        """Whether this version of this object was found to be as wanted."""
        metadata = live["metadata"]
        return self.known.get(metadata["uid"]) == f"{metadata['resourceVersion']} {wanted}"

    def with_verdicts(self, found: Mapping[str, str]) -> Verdicts:
        return Verdicts(self.ground, self.since, found)


def verdict(live: Body, wanted: str) -> tuple[str, str]:
    """What to remember of an object that is as wanted."""
    metadata = live["metadata"]
    return metadata["uid"], f"{metadata['resourceVersion']} {wanted}"


def ground(scope: Scope, *, server: str, version: str, code: str) -> str:
    """All that every verdict of a plan rests on: API server and version, for its defaults; policy and code."""
    policy = [scope.environment_id, scope.part_of, scope.undo]
    return digest(canonical([server, version, code, policy]))


def wanted(manifest: Manifest, entry: Entry, *, scaled: bool) -> str:
    """What is desired of an object, in a word."""
    return f"{manifest.fingerprint} {entry.nonce} {int(scaled)}"


def read(data: bytes, *, ground: str, now: float) -> Verdicts:
    """What `write` wrote, when it rests on the same ground and is young enough; else none."""
    try:
        value: Any = orjson.loads(data)
        if value["ground"] == ground and 0 <= now - value["since"] < FULL_SECONDS:
            return Verdicts(ground, value["since"], value["known"])
    except (ValueError, KeyError, TypeError):
        pass  # a cache that cannot be read is no cache
    return Verdicts(ground, now)


def write(verdicts: Verdicts) -> bytes:
    return orjson.dumps({"ground": verdicts.ground, "since": verdicts.since, "known": verdicts.known})
