"""One whole pipeline in the run's sandbox, on which the demo's acts were played; the tests look at what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from sandbox.demo import acts, agreement, proof
from sandbox.demo.acts import Show
from sandbox.demo.stage import Act, Stage
from sandbox.pipeline import PARTS, PROGRAMS, Pace, Pipeline, stand_up
from sandbox.runs import Run
from sandbox.supervisor import Sandbox

Scene = Callable[[Show, Act], None]
SCENES: tuple[Scene, ...] = (
    acts.first_release,
    acts.new_version,
    acts.blocked,
    acts.drift,
    acts.refused,
    proof.tampered,
    agreement.approved,
)


@pytest.fixture(scope="package")
def pipeline(sandbox: Sandbox) -> Iterator[Pipeline]:
    """The example service with everything around it, just pushed for the first time.

    All of it ends with the folder: it would go on working beside the other folders' tests, which start their own.
    """
    sandbox.start(*PARTS)
    yield stand_up(sandbox)
    sandbox.stop(*PROGRAMS, *PARTS)


@pytest.fixture(scope="package")
def walked(pipeline: Pipeline) -> Mapping[str, Act]:
    """The acts by name, after they were played one after the other."""
    return {scene.__name__: play(pipeline, scene) for scene in SCENES}


@pytest.fixture
def quick_polls(pipeline: Pipeline) -> Iterator[None]:
    """Both hosts look at the branches every 15 seconds: their files were written anew, as administrators do it."""
    _poll_every(pipeline, seconds=15)
    yield
    _poll_every(pipeline, seconds=Pace().poll)


def _poll_every(pipeline: Pipeline, *, seconds: int) -> None:
    for role in ("ci", "cd"):
        file = pipeline.place.state / role / f"{role}.yaml"
        text, found = re.subn(r"poll_seconds: \d+", f"poll_seconds: {seconds}", file.read_text())
        assert found == 1
        file.write_text(text)


def newest(pipeline: Pipeline, flow: str, says: str) -> Run:
    """The newest run of a flow whose state's name or message says something."""
    found = [run for run in pipeline.runs.of(flow) if says in f"{run.state} {run.message}"]
    assert found, f"no run of {flow} says {says!r}"
    return found[-1]


def play(pipeline: Pipeline, scene: Scene) -> Act:
    stage = Stage()
    with stage.act(0, scene.__name__) as act:
        scene(Show(stage, pipeline), act)
    return act


def failures(act: Act) -> list[str]:
    """What did not come as expected; an act that checked nothing fails too."""
    if not act.checks:
        return [f"{act.title} checked nothing"]
    return [f"{check.expected}: {check.seen}" for check in act.checks if not check.holds]
