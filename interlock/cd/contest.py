"""Two writers who fight over a field: what was put back how often, and when an undo waits instead.

Remembered on CD's host beside the verdicts. It may be lost at any time: the fight is noticed anew then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from interlock.cd import compare
from interlock.cd.conflicts import Yielded, places, rule_for
from interlock.cd.objects import Body, Path, reach, spell
from interlock.contract import field_path
from interlock.contract.models import ConflictRule
from interlock.contract.render import Identity

FLIPS = 3
"""So often a field is put back within `WINDOW_SECONDS` before the undo waits."""
WINDOW_SECONDS = 24 * 3600.0
FIRST_WAIT_SECONDS = 15 * 60.0
LONGEST_WAIT_SECONDS = 6 * 3600.0
"""The wait doubles with each further flip, up to this."""
MOST_FIELDS = 1000
_MOST_TIMES = 16


@dataclass(frozen=True)
class Flips:
    """When a field was put back, as UNIX times, and whom it was taken from last."""

    times: tuple[float, ...]
    manager: str


@dataclass(frozen=True)
class History:
    """By object and path."""

    fields: Mapping[tuple[Identity, str], Flips] = field(default_factory=dict)


@dataclass(frozen=True)
class Contest:
    """A field whose undo waits until a UNIX time."""

    identity: Identity
    path: str
    manager: str
    flips: int
    until: float

    @property
    def told(self) -> str:
        """For people: who it is, how long the undo waits, and what can be decided."""
        until = dt.datetime.fromtimestamp(self.until, dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
        who = self.manager or "somebody"
        return (
            f"contested: {who} took {self.path} again after each of {self.flips} undos, and the next one waits until "
            f"{until}; let {who} have it in environment.yaml (conflicts: kind: {self.identity.kind}, "
            f"path: {self.path}, manager: {who}, decision: leave), take it out of Git, or stop {who}"
        )


def noted(
    history: History,
    put_back: Iterable[tuple[Identity, Path, str]],
    rules: Iterable[ConflictRule],
    now: float,
) -> History:
    """With what an undo has put back now: object, path, and the manager who had it.

    What is never given up, and what a rule forces, is not counted: there is no waiting for it. Nor is an item of a list
    without keys, which has no name of its own. What nobody fought for in the window is forgotten; of more fields than
    are kept, those that were quiet longest.
    """
    decided = tuple(rules)
    fields = {key: flips for key, flips in history.fields.items() if now - flips.times[-1] < WINDOW_SECONDS}
    for identity, path, manager in put_back:
        forced = rule_for(decided, identity, path, manager, decision="force")
        name = spell(path)
        if field_path.protected(identity.kind, path) or forced or not _can_be_read(name):
            continue
        key = (identity, name)
        before = fields[key] if key in fields else Flips((), manager)
        times = (*before.times, now)[-_MOST_TIMES:]
        fields[key] = Flips(times, manager or before.manager)
    newest = sorted(fields, key=lambda key: fields[key].times[-1], reverse=True)[:MOST_FIELDS]
    return History({key: fields[key] for key in newest})


def _can_be_read(path: str) -> bool:
    try:
        field_path.parse(path)
    except ValueError:
        return False
    return True


def waiting(history: History, now: float) -> tuple[Contest, ...]:
    """The fields whose undo waits at this moment."""
    found = (_contest(identity, path, flips, now) for (identity, path), flips in history.fields.items())
    return tuple(contest for contest in found if contest and contest.until > now)


def _contest(identity: Identity, path: str, flips: Flips, now: float) -> Contest | None:
    recent = [time for time in flips.times if 0 <= now - time < WINDOW_SECONDS]
    if len(recent) < FLIPS:
        return None
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** (len(recent) - FLIPS), LONGEST_WAIT_SECONDS)
    return Contest(identity, path, flips.manager, len(recent), recent[-1] + wait)


def left(
    desired: Body, live: Body, identity: Identity, contests: Iterable[Contest], *, manager: str
) -> tuple[Yielded, ...]:
    """The declared fields that an undo does not put back for now. What lives as Git says is applied as ever."""
    return tuple(
        Yielded(path, "contested", compare.claimant(live, path, manager=manager), contest.told)
        for contest in contests
        if contest.identity == identity
        for path in places(desired, field_path.parse(contest.path))
        if reach(live, path) != reach(desired, path)
    )


# as a file -------------------------------------------------------------------------------------------


def read(data: bytes) -> History:
    """What `write` wrote; an empty history of anything else: a memory that cannot be read is none."""
    try:
        rows: Any = orjson.loads(data)
        found = {(Identity(*row[:4]), str(row[4])): Flips(tuple(map(float, row[6])), str(row[5])) for row in rows}
        sound = all(_can_be_read(path) and flips.times for (_, path), flips in found.items())
        return History(found if sound else {})
    except (ValueError, TypeError, IndexError, KeyError):
        return History()


def write(history: History) -> bytes:
    return orjson.dumps(
        [[*identity, path, flips.manager, flips.times] for (identity, path), flips in history.fields.items()]
    )
