"""Signed statements of what the branch's head is, by which a git server that withholds commits is noticed. Pure.

A statement is a commit without parents and files, on a branch of its signer's, pushed by a machine that knows the head.
policy/freshness.yaml says whose statements count, and how old the newest one may be.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from interlock.contract import commit as commits
from interlock.contract import layout, openpgp, signature, strict_yaml
from interlock.contract.models import File, Name, Signer
from interlock.contract.tree import Tree
from interlock.errors import Refused

BRANCHES = "interlock/freshness/"
"""One for each signer."""
SUBJECT = "Interlock freshness"
AHEAD_SECONDS = 300
"""How far a signer's clock may be ahead of ours."""
_MESSAGE = re.compile(rf"{SUBJECT}\n\nInterlock-Branch: (\S+)\nInterlock-Head: ([0-9a-f]{{40}})\n")


class FreshnessFile(File):
    """policy/freshness.yaml"""

    signers: tuple[Name, ...] = Field(min_length=1)
    """Whose statements count, by their names in trust/signers.yaml."""
    warn_hours: int = Field(default=6, ge=1, le=8760)
    freeze_hours: int = Field(default=24, ge=1, le=8760)
    """How old the newest statement may be before nothing new is deployed."""

    @model_validator(mode="after")
    def warns_before_it_freezes(self) -> Self:
        if self.warn_hours > self.freeze_hours:
            raise ValueError("warn_hours must not be more than freeze_hours")
        return self


@dataclass(frozen=True)
class Statement:
    """At `seconds` (since 1970, by the signer's clock) the head of the branch was this commit."""

    head: str
    signer: str
    seconds: int


@dataclass(frozen=True)
class Verdict:
    state: Literal["fresh", "stale", "withheld"]
    """`withheld`: the branch does not have what a signer saw in it."""
    said: str
    freezes: str = ""
    """Why nothing new is deployed, in words that stay the same; empty when it is."""


def read(tree: Tree) -> FreshnessFile | None:
    """policy/freshness.yaml; None when freshness is not asked for."""
    if layout.FRESHNESS not in tree.files:
        return None
    return strict_yaml.parse(tree.text(layout.FRESHNESS), FreshnessFile, path=layout.FRESHNESS)


def message(branch: str, head: str) -> str:
    return f"{SUBJECT}\n\nInterlock-Branch: {branch}\nInterlock-Head: {head}\n"


def statement(
    data: bytes, *, by: str, policy: FreshnessFile, signers: Iterable[Signer], branch: str, now: float
) -> Statement:
    """What a commit on a signer's branch of statements says; Refused when it is none, or none that counts.

    On the branch of another signer it is one that somebody moved there.
    """
    parsed = commits.parse(data)
    found, seconds = _MESSAGE.fullmatch(parsed.message), commits.committed(data)
    if parsed.parents or parsed.tree != commits.EMPTY_TREE or not found or seconds is None:
        raise _refused("it is no statement of freshness")
    if parsed.signature is None:
        raise _refused("it is not signed")
    counted = [signer for signer in signers if signer.name in policy.signers and signer.name == by]
    blobs = {signature.key_blob(key): signer for signer in counted for key in signer.all_keys}
    today = dt.datetime.fromtimestamp(now, dt.UTC).date()
    keys = {blob: signer for blob, signer in blobs.items() if _last_day(signer, blob) >= today}
    try:
        signer = signature.verify(parsed.signature, parsed.payload, keys)
    except Refused as refusal:
        raise _refused(refusal.message) from refusal
    if found[1] != branch:
        raise _refused(f"it is about the branch {found[1]}")
    if seconds > now + AHEAD_SECONDS:
        raise _refused(f"{signer.name}'s clock is {(seconds - now) / 60:.0f} minutes ahead of this host's")
    return Statement(found[2], signer.name, seconds)


def _last_day(signer: Signer, blob: bytes) -> dt.date:
    own = openpgp.last_day(blob) if blob.startswith(openpgp.PREFIX) else None
    return min(signer.until or dt.date.max, own or dt.date.max)


def judged(
    policy: FreshnessFile, found: Collection[Statement], *, why: str, missing: Container[str], now: float
) -> Verdict:
    """By all statements that count. `missing`: heads that the branch does not have; `why` none counts."""
    # Somebody may show an old one again, of a head that was taken back since.
    for each in found:
        if each.head in missing and now - each.seconds <= policy.freeze_hours * 3600:
            said = f"{each.signer} saw {each.head[:12]} at the head of the branch, and the git server does not give it"
            return Verdict("withheld", said, freezes=said)
    old = f"no signed statement of freshness that counts is younger than {policy.freeze_hours} hours"
    if not found:
        return Verdict("stale", f"no signed statement of freshness counts: {why}", freezes=old)
    newest = max(found, key=lambda each: each.seconds)
    hours = max(0.0, now - newest.seconds) / 3600
    said = f"the newest statement of freshness, of {newest.signer}, is {hours:.1f} hours old"
    if hours <= policy.warn_hours:
        return Verdict("fresh", said)
    if hours <= policy.freeze_hours:
        return Verdict("stale", f"{said}; it freezes in {policy.freeze_hours - hours:.1f} hours")
    return Verdict("stale", said, freezes=old)


def _refused(why: str) -> Refused:
    return Refused(
        f"a branch below {BRANCHES}: {why}",
        rule="freshness",
        hint=f"one of the signers of {layout.FRESHNESS} runs `interlock protect freshness`",
    )
