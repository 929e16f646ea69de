"""Rows: what of ours, what of a peer's, run in turns, and how much the runs differed."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Work = Callable[[], object]
"""Something to measure. One that gives seconds has measured itself."""
RUNS = 5
LONG_SECONDS = 30.0
"""What takes longer is run fewer times."""
LONG_RUNS = 2


@dataclass(frozen=True)
class Claim:
    """Something of ours that is measured. `goals` are what its ratio to each peer, or its own figure, is to be."""

    name: str
    what: str
    work: Work
    goals: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One claim beside one peer. Figures are medians; `spread` is (slowest - fastest) / median, of ours.

    `unit` says what is counted where it is not seconds.
    """

    name: str
    what: str
    ours_s: float
    peer: str
    peer_s: float
    ratio: float
    spread: float
    runs: int
    goal: str
    unit: str = "s"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    claims: Sequence[Claim], peers: Mapping[str, Work], *, before: Work = lambda: None, runs: int = RUNS
) -> list[Row]:
    """A row for each claim and peer. All take turns, so that a slow minute of the machine is slow for everybody.

    `before` puts the ground right before each run of anybody, outside the clock.
    """
    works = {**{claim.name: claim.work for claim in claims}, **peers}
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            if len(taken[name]) >= LONG_RUNS and statistics.median(taken[name]) > LONG_SECONDS:
                continue
            before()
            taken[name].append(timed(work))
    return [row(claim, taken[claim.name], peer, taken[peer]) for claim in claims for peer in peers]


def row(claim: Claim, ours: Sequence[float], peer: str, theirs: Sequence[float], *, unit: str = "s") -> Row:
    """From all runs of both."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    spread = (max(ours) - min(ours)) / mine
    return Row(claim.name, claim.what, mine, peer, other, mine / other, spread, len(ours), claim.goals[peer], unit)


def timed(work: Work) -> float:
    """Seconds of one run."""
    gc.collect()
    started = time.perf_counter()
    own = work()
    return own if isinstance(own, float) else time.perf_counter() - started
