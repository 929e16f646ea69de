"""The corpus of comparisons, each case on the real API server in both directions.

A case is one YAML file: `about` is the sentence, `object` what Git says, and then what somebody does to the live
object, as a patch in one of Kubernetes' three forms: `merge`, `strategic` or `json`. `seen` are the paths that a plan
must tell of. What an undo leaves, such as a finalizer, has `stays: true`; what the server keeps no manager of, such as
an order, has `manager: ""`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import ground as grounds
from bench.ground import Ground
from interlock.cd.objects import Body, identify
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract.manifest import Manifest
from interlock.contract.render import Identity, Rendered
from interlock.errors import ClusterError
from sandbox.parts.kubernetes import Kubernetes
from sandbox.supervisor import Sandbox

CORPUS = Path(__file__).with_name("corpus")
CONTENT = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    object: Mapping[str, Any]
    form: str
    change: Any
    seen: frozenset[str]
    stays: bool
    manager: str

    @classmethod
    def read(cls, file: Path) -> Case:
        found = yaml.safe_load(file.read_text())
        (form,) = found.keys() & CONTENT.keys()
        return cls(
            name=file.stem,
            about=found["about"],
            object=found["object"],
            form=form,
            change=found[form],
            seen=frozenset(found["seen"]),
            stays=found.get("stays", False),
            manager=found.get("manager", "somebody"),
        )

    def identity(self, namespace: str) -> Identity:
        return identify({**self.object, "metadata": {**self.object["metadata"], "namespace": namespace}})


CASES = tuple(Case.read(file) for file in sorted(CORPUS.glob("*.yaml")))


@dataclass(frozen=True)
class Story:
    """Plans, in order: after the apply, after somebody's changes, the same with claims as if he had never been, the
    same without any claims, after the undo.
    """

    namespace: str
    applied: Plan
    changed: Plan
    forged: Plan
    stripped: Plan
    undone: Plan

    def item(self, plan: Plan, case: Case) -> PlanItem:
        (found,) = [item for item in plan.items if item.identity == case.identity(self.namespace)]
        return found


@pytest.fixture(scope="module")
def story(cluster: Kubernetes, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All cases in one environment: every step is one plan for all of them."""
    with grounds.environment(sandbox, tmp_path_factory.mktemp("corpus")) as ground:
        for file in sorted((CORPUS / "definitions").glob("*.yaml")):
            ground.cluster.apply(yaml.safe_load(file.read_text()), manager="corpus")
        _await_kinds(ground)
        rendered = _rendered(ground)
        ground.sync(rendered)
        applied = _plan(ground, rendered)
        ground.scope = replace(ground.scope, again=True)  # what differs now, no commit explains
        claims = {case.name: _live(ground, case)["metadata"]["managedFields"] for case in CASES}
        for case in CASES:
            _patch(ground, case, case.form, _with_uids(ground, case.change))
        changed = _plan(ground, rendered)
        for case in CASES:
            _claim(ground, case, claims[case.name])
        forged = _plan(ground, rendered)
        for case in CASES:
            _claim(ground, case, [{}])
        stripped = _plan(ground, rendered)
        ground.sync(rendered)
        yield Story(ground.namespace, applied, changed, forged, stripped, _plan(ground, rendered))
        for case in CASES:
            _release(ground, case)
        ground.remove()


def _plan(ground: Ground, rendered: Rendered) -> Plan:
    """Without any memory: everything is compared."""
    ground.forget()
    return ground.plan(rendered)


def _await_kinds(ground: Ground) -> None:
    """The server tells of a new kind a moment after it took its definition."""
    deadline = time.monotonic() + 30
    for kind in {case.object["kind"] for case in CASES if "corpus.example" in case.object["apiVersion"]}:
        while True:
            try:
                ground.cluster.resource("corpus.example/v1", kind)
                break
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)


def _rendered(ground: Ground) -> Rendered:
    bodies = [{**c.object, "metadata": {**c.object["metadata"], "namespace": ground.namespace}} for c in CASES]
    return Rendered("corpus", tuple(Manifest(body, "corpus", {}) for body in bodies), ())


def _live(ground: Ground, case: Case) -> Body:
    live = ground.cluster.find(case.identity(ground.namespace))
    assert live is not None
    return live


def _with_uids(ground: Ground, value: Any) -> Any:
    """`$uid:Kind/name` stands for the UID of an object of the corpus."""
    if isinstance(value, str) and value.startswith("$uid:"):
        kind, name = value.removeprefix("$uid:").split("/")
        live = ground.cluster.find(Identity("", kind, ground.namespace, name))
        return live["metadata"]["uid"] if live else value
    if isinstance(value, dict):
        return {key: _with_uids(ground, each) for key, each in value.items()}
    return [_with_uids(ground, each) for each in value] if isinstance(value, list) else value


def _claim(ground: Ground, case: Case, claims: object) -> None:
    """Whoever may write an object may write what is said of its writers."""
    _patch(ground, case, "json", [{"op": "replace", "path": "/metadata/managedFields", "value": claims}])


def _release(ground: Ground, case: Case) -> None:
    """What would hold up the namespace's end."""
    if "finalizers" in case.object["metadata"]:
        _patch(ground, case, "merge", {"metadata": {"finalizers": None}})


def _patch(ground: Ground, case: Case, form: str, body: object) -> None:
    resource = ground.cluster.resource(case.object["apiVersion"], case.object["kind"])
    path = resource.path(ground.namespace, case.object["metadata"]["name"])
    query = {"fieldManager": "somebody"}
    ground.cluster._exchange("PATCH", path, query=query, body=body, content=CONTENT[form], subject=path)


cases = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def test_every_case_has_a_sentence_and_a_name() -> None:
    """One case a file, named as its object; enough of them."""
    assert all(case.about.endswith(".") for case in CASES)
    assert [case.object["metadata"]["name"] for case in CASES] == [case.name for case in CASES]
    assert len(CASES) >= 40


@cases
def test_what_was_applied_is_as_it_should_be(story: Story, case: Case) -> None:
    """No endless difference: the plan after an apply has nothing to say of the object."""
    item = story.item(story.applied, case)
    assert (item.action, item.reason, item.fields) == (Action.UNCHANGED, "", ())


@cases
def test_what_somebody_changed_is_seen(story: Story, case: Case) -> None:
    """No hidden difference: just the changed paths are told of, none as ours; a field that is gone is nobody's."""
    item = story.item(story.changed, case)
    assert {field.path for field in item.fields} == case.seen
    assert {field.kind for field in item.fields} <= {"drift", "foreign", "removed"}
    assert {field.manager for field in item.fields if field.live is not None} <= {case.manager}


@cases
def test_it_is_seen_whatever_is_said_of_its_writer(story: Story, case: Case) -> None:
    """Forged managedFields hide none of it, nor do stripped ones."""
    for plan in (story.forged, story.stripped):
        assert case.seen <= {field.path for field in story.item(plan, case).fields}


@cases
def test_an_undo_puts_it_back(story: Story, case: Case) -> None:
    """And after it the plan has nothing to say, but for what is never taken away."""
    item = story.item(story.undone, case)
    if case.stays:
        assert item.action == Action.FOREIGN
        assert {field.path for field in item.fields} == case.seen
    else:
        assert (item.action, item.reason, item.fields) == (Action.UNCHANGED, "", ())
