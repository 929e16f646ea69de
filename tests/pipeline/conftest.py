"""One whole pipeline in the run's sandbox, on which the demo's acts were played; the tests look at what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from sandbox.demo import acts
from sandbox.demo.acts import Show
from sandbox.demo.stage import Act, Stage
from sandbox.pipeline import PROGRAMS, Pace, Pipeline, stand_up
from sandbox.supervisor import Sandbox

Scene = Callable[[Show, Act], None]
SCENES: tuple[Scene, ...] = (acts.first_release, acts.new_version, acts.blocked, acts.drift, acts.refused)


@pytest.fixture(scope="package")
def pipeline(
    sandbox: Sandbox,
    *,
    git_server: object,
    registry: object,
    docker_daemon: object,
    base_image: object,
    trivy_database: object,
    prefect_server: object,
    node: object,
) -> Iterator[Pipeline]:
    """The example service with everything around it, just pushed for the first time.

    Its programs end with the folder: schedules and polls would go on beside the other folders' tests.
    """
    yield stand_up(sandbox, pace=Pace(resync=30))
    sandbox.stop(*PROGRAMS)


@pytest.fixture(scope="package")
def walked(pipeline: Pipeline) -> Mapping[str, Act]:
    """The acts by name, after they were played one after the other."""
    return {scene.__name__: play(pipeline, scene) for scene in SCENES}


@pytest.fixture
def quick_polls(pipeline: Pipeline) -> Iterator[None]:
    """Both hosts look at the branches every ten seconds: their files were written anew, as administrators do it."""
    _poll_every(pipeline, seconds=10)
    yield
    _poll_every(pipeline, seconds=Pace().poll)


def _poll_every(pipeline: Pipeline, *, seconds: int) -> None:
    for role in ("ci", "cd"):
        file = pipeline.place.state / role / f"{role}.yaml"
        text, found = re.subn(r"poll_seconds: \d+", f"poll_seconds: {seconds}", file.read_text())
        assert found == 1
        file.write_text(text)


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
