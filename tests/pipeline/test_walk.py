"""The demo's acts, one test each: what `make demo` shows must hold."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from interlock.cli.file_schemas import HOSTS
from sandbox.demo import acts
from sandbox.demo.stage import Act
from sandbox.pipeline import Pipeline
from tests.fitting import misfits, misfits_below
from tests.pipeline.conftest import failures, play

# The first test that asks for the walk waits until all of it was played.
pytestmark = pytest.mark.timeout(1200)

Walked = Mapping[str, Act]


def test_a_first_push_is_live_without_another_hand(walked: Walked) -> None:
    """The state that both repositories begin with is released and deployed."""
    assert failures(walked["first_release"]) == []


def test_a_new_version_replaces_the_old_one(walked: Walked) -> None:
    """One push brings the new version into the cluster, by the digest that git names, and the Service answers it."""
    assert failures(walked["new_version"]) == []


def test_the_gate_stops_a_credential_and_a_vulnerable_dependency(walked: Walked) -> None:
    """The gate names file, line, package and fixed version; neither registry nor environment repository changes."""
    assert failures(walked["blocked"]) == []


def test_resync_finds_what_was_changed_by_hand(walked: Walked) -> None:
    """The scheduled resync undoes what git declares and reports what is foreign, with field, values, manager, time."""
    assert failures(walked["drift"]) == []


def test_rewritten_and_unsigned_history_is_refused(walked: Walked) -> None:
    """CD refuses by rule, the cluster stays, and after the branch is brought back the pipeline goes on."""
    assert failures(walked["refused"]) == []


def test_tampered_evidence_is_refused_though_cis_key_signed_the_release(walked: Walked) -> None:
    """CD names image, object, link and statement, writes nothing, and says so on the run's page."""
    assert failures(walked["tampered"]) == []


def test_a_change_waits_until_a_second_person_approves_it(walked: Walked) -> None:
    """Nothing moves while the approval is missing; once it is pushed the change is deployed, by no other hand."""
    assert failures(walked["approved"]) == []


def test_every_file_of_the_walk_fits_its_schema(pipeline: Pipeline, walked: Walked) -> None:
    """Both repositories with what CI and people wrote there, and the files of all hosts."""
    pipeline.environments.pull()
    clones = (pipeline.environments.clone, pipeline.application.clone)
    found = {path: said for clone in clones for path, said in misfits_below(clone).items()}
    state = pipeline.place.state
    files = {form.name: state / form.name / f"{form.name}.yaml" for form in HOSTS}
    hosts = {form.name: misfits(form, files[form.name].read_text()) for form in HOSTS if files[form.name].exists()}

    assert hosts.keys() >= {"ci", "cd", "receiver"}
    assert acts.RELEASE_FILE in found
    assert not {path: said for path, said in (found | hosts).items() if said}


def test_a_removed_application_is_pruned_and_strangers_stay(pipeline: Pipeline, walked: Walked) -> None:
    """What a commit removes is pruned; an object that somebody else made in the namespace is left alone."""
    assert failures(play(pipeline, acts.removed)) == []
