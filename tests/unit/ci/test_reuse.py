"""When what is released will do for an identical tree, and why not otherwise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from interlock.ci.reuse import is_told, stale
from interlock.ci.targets import Target, targets
from interlock.contract import evidence, layout, release, repository
from interlock.contract.canonical import digest
from interlock.contract.evidence import Attached, Base, Statement
from interlock.contract.models import ReleasedComponent, Source
from tests import examples_of_repositories as example

NOW = example.TIME + dt.timedelta(hours=2)
TESTS = "sha256:" + "7" * 64


def statements(
    *,
    passed: bool = True,
    verified: dt.datetime = example.TIME,
    updated: dt.datetime = example.TIME,
    pinned: bool = False,
) -> tuple[Statement, ...]:
    made: dict[str, Any] = {"started": example.TIME, "finished": example.TIME}
    made |= {"builder": "urn:interlock:ci:ci-shop", "run": "run-1"}
    source: dict[str, Any] = {
        "repository": example.SOURCE_REPOSITORY,
        "commit": example.SOURCE_COMMIT,
        "component": "web",
    }
    image = example.IMAGE
    database = {"uri": "db", "version": updated.isoformat(), "pinned": pinned}
    return (
        evidence.provenance(image, **source, **made, bases=[Base("a", "b")], internal={"tests": TESTS}),
        evidence.test_result(image, report_digest="sha256:" + "2" * 64, passed=("test_price",)),
        evidence.sbom_reference(image, [Attached("r@sha256:1", "sha256:1", "x")], attester="ci"),
        evidence.vulnerability_scan(
            image, scanned="image", scanner="trivy", version="1", database=database, findings=(), **made
        ),
        evidence.gate_verdict(image, environment="dev", passed=passed, policy_commit="c" * 40, time=verified),
    )


def released(said: Sequence[Statement], *, gate: str = "format: 1\n") -> tuple[repository.Repository, Target]:
    proof = evidence.envelope(said)
    source = Source(repository=example.SOURCE_REPOSITORY, commit=example.SOURCE_COMMIT)
    entry = ReleasedComponent(image=example.IMAGE, source=source, evidence=digest(proof))
    changes: dict[str, str | bytes | None] = {
        layout.GATE: gate,
        layout.release("dev", "shop"): release.with_component(None, "web", entry),
        layout.evidence("dev", "shop", "web", example.IMAGE.partition("@")[2]): proof,
    }
    found = repository.read(example.environment_tree(changes, released=False))
    (target,) = targets(found, source=None, signer=None)
    return found, target


def judged(
    said: Sequence[Statement], *, gate: str = "format: 1\n", tests: str = TESTS, image: str = example.IMAGE
) -> str:
    found, target = released(said, gate=gate)
    return stale(found, target, image=image, tests=tests, now=NOW)


@pytest.mark.parametrize(
    ("image", "key", "told"),
    [
        (example.IMAGE, "il-1", True),
        (example.IMAGE, "il-2", False),
        (example.IMAGE.replace("1a", "2b"), "il-1", False),
    ],
)
def test_evidence_tells_what_was_built_from_which_inputs(image: str, key: str, told: bool) -> None:
    """Of just the image and just the inputs that it names, and not where it names none."""
    said = statements()
    provenance = said[0].predicate
    definition = provenance["buildDefinition"]
    internal = {**definition["internalParameters"], "buildKey": "il-1"}
    named = replace(
        said[0], predicate={**provenance, "buildDefinition": {**definition, "internalParameters": internal}}
    )
    found, target = released((named, *said[1:]))
    unnamed, _ = released(said)

    assert is_told(found, [target], image=image, key=key) is told
    assert not is_told(unnamed, [target], image=image, key=key)


def test_complete_and_young_evidence_will_do() -> None:
    """Nothing has to be judged again."""
    assert judged(statements()) == ""


@pytest.mark.parametrize("number", range(1, 5))
def test_evidence_without_one_of_its_parts_will_not(number: int) -> None:
    """Whichever is missing. Without provenance the environment repository itself is refused."""
    said = statements()
    assert "its evidence has no " in judged((*said[:number], *said[number + 1 :]))


def test_what_is_not_that_image_will_not() -> None:
    """Another one, or none."""
    other = example.IMAGE.replace("1a", "2b")
    assert judged(statements(), image=other) == "another image is released there"
    nothing = repository.read(example.environment_tree(released=False))
    target = Target("dev", "shop", "web", example.IMAGE_REPOSITORY, None)
    assert stale(nothing, target, image=example.IMAGE, tests=TESTS, now=NOW) == "it is not released there"


def test_other_tests_and_a_verdict_that_is_not_clean_will_not() -> None:
    """The tests that are asked for now have not been run; a verdict may have turned since."""
    assert judged(statements(), tests="sha256:0") == "it was tested otherwise"
    assert judged(statements(passed=False)) == "its last verdict is not clean"


def test_old_evidence_will_not() -> None:
    """By policy's hours for verdicts and for the vulnerability database; a pinned one is as old as it is."""
    hour = "format: 1\nrules: {verdict_hours: 1}\n"
    assert judged(statements(), gate=hour) == "its verdict is older than 1 h"
    old = example.TIME - dt.timedelta(days=8)
    assert judged(statements(updated=old)).startswith("the vulnerabilities known to its last scan are older than 168 h")
    assert judged(statements(updated=old, pinned=True)) == ""
    assert judged(statements(updated=old), gate="format: 1\nrules: {database_hours: 200}\n") == ""
