"""Figures of the bench are of runs in turns."""

from __future__ import annotations

import pytest

from bench import measure
from bench.measure import Claim, compare


def test_all_take_turns_and_every_claim_has_a_row_for_every_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians, their ratio, and the spread of our own runs; the ground is put right before each."""
    told: list[str] = []
    seconds = iter([1.0, 4.0, 3.0, 4.0, 2.0, 4.0])

    def timed(work: measure.Work) -> float:
        work()
        return next(seconds)

    monkeypatch.setattr(measure, "timed", timed)
    claim = Claim("ours", "a thing", lambda: told.append("ours"), {"peer": "≤ 1"})

    (row,) = compare((claim,), {"peer": lambda: told.append("peer")}, before=lambda: told.append("before"), runs=3)

    assert told == ["before", "ours", "before", "peer"] * 3
    assert (row.ours_s, row.peer_s, row.ratio, row.spread, row.runs, row.goal) == (2.0, 4.0, 0.5, 1.0, 3, "≤ 1")


def test_what_takes_long_is_run_fewer_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""
    told: list[str] = []

    def timed(work: measure.Work) -> float:
        work()
        return 100.0 if told[-1] == "peer" else 1.0

    monkeypatch.setattr(measure, "timed", timed)
    claim = Claim("ours", "a thing", lambda: told.append("ours"), {"peer": ""})

    compare((claim,), {"peer": lambda: told.append("peer")}, runs=5)

    assert (told.count("ours"), told.count("peer")) == (5, measure.LONG_RUNS)
