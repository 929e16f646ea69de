"""An approval has ended; the clock of CD's host is set back, and it counts again.

Defence: CD decides nothing by a clock that lies before a time that its host has seen, before one of its receipts, or
apart from the API server's (tasks/common/clock.py, interlock/cd/clock.py).
Not defended: root on CD's host who sets the API server's clock back too, removes what the host has seen, and cuts it
off from the ledger.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from interlock.cd.clock import require_sound
from interlock.contract.approvals import spelt
from interlock.errors import ClockWrong
from tasks.common import clock
from tests.unit.trust.approved import VALUES, Place

BACK = dt.timedelta(hours=3)


@pytest.fixture
def ended() -> tuple[Place, str]:
    """ben's approval ended an hour ago; three hours ago it still counted."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    now = dt.datetime.now(dt.UTC)
    place.approve("ben", deployed=deployed, given=spelt(now - BACK * 2), ends=spelt(now - BACK / 3))
    assert not place.answered(deployed=deployed, now=now)
    return place, deployed


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dt.datetime:
    """The host has seen the time before its clock was set back; gives what the clock says now."""
    clock.remember(tmp_path)
    then = dt.datetime.now(dt.UTC) - BACK

    class SetBack(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return then

    monkeypatch.setattr(dt, "datetime", SetBack)
    return then


def test_it_succeeds_by_the_host_s_clock_alone(ended: tuple[Place, str], set_back: dt.datetime, tmp_path: Path) -> None:
    """A host that has lost what it saw, and asks its clock only, takes what has ended."""
    place, deployed = ended
    (tmp_path / "clock").unlink()

    assert place.answered(deployed=deployed, now=clock.now(tmp_path))


def test_nothing_is_decided_by_a_clock_that_went_back(set_back: dt.datetime, tmp_path: Path) -> None:
    """The host has seen a later time: there is no time by which an approval could count, however often it is asked."""
    for _ in range(2):
        with pytest.raises(ClockWrong, match="it went back"):
            clock.now(tmp_path)


def test_ledger_and_cluster_know_better(set_back: dt.datetime) -> None:
    """Where the host forgot, a receipt of later, or the API server's clock, says that it is wrong."""
    for known in ({"receipt": set_back + BACK, "server": None}, {"receipt": None, "server": set_back + BACK}):
        with pytest.raises(ClockWrong):
            require_sound(set_back, **known)
