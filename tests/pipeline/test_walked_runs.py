"""What Prefect knows of the walk's runs: names, states, tags and reports that tell what happened, to what, and why."""

from __future__ import annotations

import re

import pytest

from sandbox.pipeline import APPLICATION, CLUSTER, ENVIRONMENT, Pipeline
from tests.pipeline.conftest import newest

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("walked")]


def test_a_release_tells_what_went_where(pipeline: Pipeline) -> None:
    """Its state names application, commit, component and environment; it has a report of each step that judges."""
    run = newest(pipeline, "release", "released shop")

    commit = run.message.split()[2].rstrip(":")
    assert (run.state, run.name) == ("Completed", f"release shop {commit}")
    assert run.message.startswith(f"released shop {commit}: web to dev")
    assert run.tags >= {"repository:shop", "component:web", "environment:dev"}
    assert set(pipeline.runs.pages(run)) >= {"scan", "tests", "gate", "release"}


def test_a_blocked_release_has_the_reasons_in_its_state(pipeline: Pipeline) -> None:
    """Blocked is no failure of the tool: its state says so, with each finding."""
    run = newest(pipeline, "release", "Blocked")

    assert (run.kind, run.state) == ("FAILED", "Blocked")
    assert "secret aws-access-key-id in shop/payment.py:1" in run.message
    assert {"scan", "gate", "ending"} <= set(pipeline.runs.pages(run))


def test_a_deploy_tells_its_story(pipeline: Pipeline) -> None:
    """Name, tags, plan, health and outcome say which commit went where, and what became of it."""
    runs = [run for run in pipeline.runs.of("deploy") if f"application:{APPLICATION}" in run.tags]
    run = next(run for run in reversed(runs) if run.message.startswith("dev deployed at "))

    head = run.message.split()[3]
    assert run.name == f"deploy dev {head[:7]}"
    assert "environment:dev" in run.tags
    lines = pipeline.runs.headlines(run)
    assert re.fullmatch(rf"Plan for dev at {head}: \d+ to (create|change|prune).*", lines["plan"])
    assert lines["outcome"] == run.message
    assert lines["health"].endswith(" healthy")


@pytest.mark.parametrize("rule", ["rewritten", "unsigned"])
def test_a_refused_head_fails_the_run_by_its_rule(pipeline: Pipeline, rule: str) -> None:
    """The state says Refused and the rule; a page says what to do."""
    run = newest(pipeline, "deploy", f"{rule}: ")

    assert (run.kind, run.state) == ("FAILED", "Refused")
    assert run.message.startswith(f"{rule}: ")
    assert pipeline.runs.headlines(run)["refusal"] == f"dev: refused ({rule})"


def test_a_plan_is_a_run_of_its_own(pipeline: Pipeline) -> None:
    """Started by hand it writes nothing: it says that nothing would change, of which commit."""
    pipeline.environments.pull()
    head = pipeline.environments.head()
    known = pipeline.runs.ids("plan")
    pipeline.runs.start(f"plan/{CLUSTER}", environment=ENVIRONMENT)

    run = pipeline.runs.wait("plan", known=known, seconds=90)

    assert (run.kind, run.name) == ("COMPLETED", f"plan dev {head[:7]}")
    assert run.message.startswith(f"dev at {head[:12]}: ")
    assert pipeline.runs.headlines(run)["plan"].startswith(f"Plan for dev at {head[:12]}: ")


def test_a_resync_says_that_nothing_moved(pipeline: Pipeline) -> None:
    """Of a synced environment it says so, by environment and commit."""
    run = newest(pipeline, "resync", " in sync at ")

    assert run.state == "Completed"
    assert run.name == f"resync dev {run.message.rpartition(' in sync at ')[2][:7]}"
    assert "environment:dev" in run.tags
