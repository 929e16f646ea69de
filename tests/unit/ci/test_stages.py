"""What a run's time went to."""

from __future__ import annotations

import pytest

from flows.ci.clock import Clock
from flows.trail import about
from interlock.ci.stages import Stage, stages_report


def test_stages_come_in_the_order_in_which_they_began() -> None:
    """With their component, and the whole time in the title."""
    report = stages_report(
        [Stage("web", "build", 1.0, 3.5), Stage("", "fetch", 0.0, 0.4), Stage("api", "build", 1.0, 2)]
    )

    assert report.title == "3.5 s in 3 stages"
    assert report.tables[0].rows == (
        ("all", "fetch", "0.0", "0.4", "0.4"),
        ("api", "build", "1.0", "2.0", "1.0"),
        ("web", "build", "1.0", "3.5", "2.5"),
    )


def test_one_stage_is_one_stage() -> None:
    """A run that failed at once has no plural in its title."""
    assert stages_report([Stage("", "fetch", 0.0, 0.4)]).title == "0.4 s in 1 stage"


def test_a_stage_that_fails_is_told_too() -> None:
    """Under the component that it was about."""
    clock = Clock()

    with pytest.raises(ValueError, match="no"), about("api"), clock.stage("build"):
        raise ValueError("no")

    (stage,) = clock.stages
    assert (stage.component, stage.name) == ("api", "build")
    assert stage.seconds >= 0
