"""What becomes of the newest commit, by what git, record and the last run say."""

from __future__ import annotations

import datetime as dt

import pytest

from interlock.cd import outlook
from interlock.cd.outlook import Ending, Outlook
from interlock.errors import (
    AwaitsApproval,
    Blocked,
    ClusterError,
    FormatError,
    InterlockError,
    LockHeld,
    Refused,
    Unhealthy,
)

NEW, OLD = "a" * 40, "b" * 40
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def seen(
    *, deployed: str = OLD, pending: str = "", refusal: InterlockError | None = None, last: Ending | None = None
) -> Outlook:
    return outlook.outlook("dev", NEW, deployed=deployed, pending=pending, refusal=refusal, last=last)


@pytest.mark.parametrize(
    ("error", "state", "wrong"),
    [
        (Refused("no", rule="unsigned"), "refused", True),
        (FormatError("no", path="a", line=1), "refused", True),
        (Blocked("no", reasons=("one", "two")), "blocked", True),
        (Unhealthy("no"), "unhealthy", True),
        (ClusterError("no"), "failed", True),
        (LockHeld("no"), "waiting", False),
        (AwaitsApproval("no"), "awaiting approval", True),
    ],
)
def test_the_last_run_tells(error: InterlockError, state: str, wrong: bool) -> None:
    """By the kind of its error, with all of its reasons, something to do, and the time."""
    found = seen(last=outlook.read(outlook.write(outlook.ending(NEW, error, NOW))))
    assert (found.state, found.wrong, found.why, found.since) == (state, wrong, error.message, "2026-01-02T03:04:05Z")
    assert found.to_do


def test_the_error_s_own_hint_is_what_to_do() -> None:
    """It knows better than the usual word."""
    assert outlook.ending(NEW, Blocked("no", hint="widen the budget"), NOW).to_do == "widen the budget"


def test_what_was_said_of_another_commit_does_not_count() -> None:
    """A newer commit begins anew; one that is deployed is deployed, whatever an older run said."""
    older = outlook.ending(OLD, Blocked("no"), NOW)
    assert seen(last=older).state == "waiting"
    assert seen(last=older, pending=NEW).state == "begun"
    assert seen(last=outlook.ending(NEW, Blocked("no"), NOW), deployed=NEW).state == "deployed"
    assert seen(last=older, refusal=Refused("no", rule="unsigned")).state == "refused"


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b"\xff", b'{"commit": 1}', b'{"commit":"a","state":"odd",'])
def test_a_damaged_memory_is_none(damage: bytes) -> None:
    """It is only told less."""
    assert outlook.read(damage) is None
    assert outlook.read(outlook.write(Ending(NEW, "odd", "", "", ""))) is None  # type: ignore[arg-type]
