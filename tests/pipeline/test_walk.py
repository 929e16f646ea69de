"""The demo's acts, one test each: what `make demo` shows must hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.demo import acts
from sandbox.demo.acts import Show
from sandbox.demo.stage import Act, Stage
from sandbox.pipeline import Pipeline

pytestmark = pytest.mark.timeout(600)

Scene = Callable[[Show, Act], None]


def play(pipeline: Pipeline, scene: Scene) -> list[str]:
    """What did not come as expected."""
    act = Act(0, scene.__name__)
    scene(Show(Stage(), pipeline), act)
    assert act.checks
    return [f"{check.expected}: {check.seen}" for check in act.checks if not check.holds]


def test_a_first_push_is_live_without_another_hand(pipeline: Pipeline) -> None:
    """The state that both repositories begin with is released and deployed."""
    assert play(pipeline, acts.first_release) == []


def test_a_new_version_replaces_the_old_one(pipeline: Pipeline) -> None:
    """One push brings the new version into the cluster, by the digest that git names, and the Service answers it."""
    assert play(pipeline, acts.new_version) == []


def test_the_gate_stops_a_credential_and_a_vulnerable_dependency(pipeline: Pipeline) -> None:
    """The gate names file, line, package and fixed version; neither registry nor environment repository changes."""
    assert play(pipeline, acts.blocked) == []


def test_resync_finds_what_was_changed_by_hand(pipeline: Pipeline) -> None:
    """The scheduled resync undoes what git declares and reports what is foreign, with field, values, manager, time."""
    assert play(pipeline, acts.drift) == []


def test_rewritten_and_unsigned_history_is_refused(pipeline: Pipeline) -> None:
    """CD refuses by rule, the cluster stays, and after the branch is brought back the pipeline goes on."""
    assert play(pipeline, acts.refused) == []


def test_a_removed_application_is_pruned_and_strangers_stay(pipeline: Pipeline) -> None:
    """What a commit removes is pruned; an object that somebody else made in the namespace is left alone."""
    assert play(pipeline, acts.removed) == []
