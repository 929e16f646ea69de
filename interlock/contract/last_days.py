"""Which commits were signed by a key past its last day, and of which of them somebody else says that they are good.

The newest trust alone cannot say it: whoever has an expired key, and may write trust, would write there that it is
good for longer, or let a signer of their own making list it as retired. So each commit is asked of its parent's trust
too, and what an expired key wrote counts for nothing until a key says so that owes it nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LastDays = Mapping[str, dt.date | None]
"""Of the keys that sign, by fingerprint; None: there is no end."""


@dataclass(frozen=True)
class Keys:
    """What trust says of keys at one commit."""

    last: LastDays
    believed_to: Mapping[str, str]
    """Of the keys that ended: the last commit up to which each is believed."""


@dataclass(frozen=True)
class Signing:
    """A commit: whose key signed it, and what its parent and itself say of keys."""

    commit: str
    key: str
    before: Keys
    after: Keys


def overdue(line: Sequence[Signing], today: dt.date) -> Signing | None:
    """The first commit of the line that an expired key signed and that no other good key vouches for.

    Each round believes the commits that the round before found somebody to vouch for; so nothing that an expired key
    wrote helps to find its first voucher.
    """
    vouched: Mapping[str, int] = {}
    while True:
        doubtful, found = _round(line, vouched, today)
        if found == vouched:
            return doubtful
        vouched = found


def _round(
    line: Sequence[Signing], vouched: Mapping[str, int], today: dt.date
) -> tuple[Signing | None, Mapping[str, int]]:
    """The first doubtful commit, and up to which place of the line each key is vouched for."""
    sure = dict(line[0].before.last) if line else {}
    places = {each.commit: place for place, each in enumerate(line)}
    found, doubtful = dict(vouched), None
    for place, each in enumerate(line):
        in_time = _good(each.key, sure, today) and _good(each.key, each.before.last, today)
        if not in_time and place > vouched.get(each.key, -1):
            doubtful = doubtful or each
        elif each.after is not each.before:
            for key, up_to in _says(each, place, places).items():
                found[key] = max(found.get(key, -1), up_to)
            _follow(sure, each)
    return doubtful, found


def _good(key: str, last: LastDays, today: dt.date) -> bool:
    return key in last and _reaches(last[key], today)


def _reaches(day: dt.date | None, other: dt.date | None) -> bool:
    return day is None or (other is not None and day >= other)


def _says(signing: Signing, place: int, places: Mapping[str, int]) -> Mapping[str, int]:
    """For which other keys a commit vouches: those that it gives more time, and those that it says when they ended."""
    before, after = signing.before, signing.after
    longer = {
        key: place
        for key, day in after.last.items()
        if key in before.last and day != before.last[key] and _reaches(day, before.last[key])
    }
    ended = {
        key: places.get(commit, -1)
        for key, commit in after.believed_to.items()
        if before.believed_to.get(key) != commit
    }
    return {key: up_to for key, up_to in {**longer, **ended}.items() if key != signing.key}


def _follow(sure: dict[str, dt.date | None], signing: Signing) -> None:
    """Take over what the commit changes, and nothing of what was changed before it."""
    before, after = signing.before.last, signing.after.last
    for key in before.keys() - after.keys():
        sure.pop(key, None)
    sure.update({key: day for key, day in after.items() if key not in before or before[key] != day})
