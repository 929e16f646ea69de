"""The host's clock: what was once over stays so."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cd.clock import require_clock
from interlock.errors import ClockWrong
from tasks.common import clock

FORM = "%Y-%m-%dT%H:%M:%SZ"


def seen(state: Path, time: dt.datetime) -> None:
    state.mkdir(exist_ok=True)
    (state / "clock").write_text(time.strftime(FORM))


def test_the_time_goes_on(tmp_path: Path) -> None:
    """It is remembered, and a remembered one that lies before is no hindrance."""
    state, before = tmp_path / "state", dt.datetime.now(dt.UTC)
    assert before <= clock.now(state) <= dt.datetime.now(dt.UTC)
    clock.remember(state)
    assert (state / "clock").read_text() >= before.strftime(FORM)
    seen(state, before - dt.timedelta(days=400))
    assert clock.now(state) >= before
    clock.remember(state)
    assert (state / "clock").read_text() >= before.strftime(FORM)


@dataclass
class Site:
    """As much of CD's as the question for the time needs."""

    cluster: SimpleNamespace
    host: SimpleNamespace


async def test_only_a_time_that_is_confirmed_is_remembered(tmp_path: Path) -> None:
    """A clock that jumped ahead for a moment, and that the API server contradicts, does not stop the host for good."""
    time = dt.datetime.now(dt.UTC)
    site = Site(SimpleNamespace(clock=time - dt.timedelta(days=2)), SimpleNamespace(state=tmp_path))
    clock.now(tmp_path)
    with pytest.raises(ClockWrong, match="the API server's"):
        await require_clock(site)  # type: ignore[arg-type]
    assert not (tmp_path / "clock").exists()

    site.cluster.clock = time
    await require_clock(site)  # type: ignore[arg-type]
    assert (tmp_path / "clock").read_text() >= time.strftime(FORM)


def test_a_small_step_back_is_not_seen(tmp_path: Path) -> None:
    """Within a minute the time that was seen is given again, so no day ever comes back."""
    ahead = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=40)
    seen(tmp_path, ahead)

    assert clock.now(tmp_path) == ahead


def test_a_clock_that_was_set_back_is_refused(tmp_path: Path) -> None:
    """With what to do; and so is what was made of the file by somebody else."""
    seen(tmp_path, dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    with pytest.raises(ClockWrong, match="it went back") as wrong:
        clock.now(tmp_path)
    assert str(tmp_path / "clock") in wrong.value.hint

    (tmp_path / "clock").write_bytes(b"\xff")
    with pytest.raises(ClockWrong, match="cannot be read"):
        clock.now(tmp_path)
