"""How long a run's stages took, and which of them ran side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.contract.report import Report, Table, counted


@dataclass(frozen=True)
class Stage:
    """One stage, of one component or, without a name, of all. Times are seconds, since the run began."""

    component: str
    name: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def stages_report(stages: Iterable[Stage]) -> Report:
    """In the order in which they began. What was cut short is told too."""
    ordered = sorted(stages, key=lambda each: (each.began, each.component))
    rows: list[tuple[str, ...]] = [
        (each.component or "all", each.name, f"{each.began:.1f}", f"{each.ended:.1f}", f"{each.seconds:.1f}")
        for each in ordered
    ]
    whole = max((each.ended for each in ordered), default=0.0)
    return Report(
        key="times",
        title=f"{whole:.1f} s in {counted(len(rows), 'stage')}",
        markdown="In seconds since the run began. Stages whose times overlap ran side by side.",
        tables=(Table.of("component", "stage", "from", "to", "took", rows=rows),),
        data=[{"component": each.component, "stage": each.name, "seconds": round(each.seconds, 3)} for each in ordered],
    )
