"""How far a wait is, judged over the time in which it was watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from interlock.cd.causes import PATIENCE, Surroundings
from interlock.cd.health import State
from interlock.cd.objects import Body, identify
from interlock.cd.progress import SETTLE_SECONDS, Progress, Target, judge, target
from interlock.contract.manifest import HEALTH_TIMEOUT, NO_PROGRESS_TIMEOUT, Manifest
from interlock.contract.render import Identity


def _widget(name: str = "x", **status: Any) -> Body:
    metadata = {"name": name, "namespace": "shop", "uid": name, "generation": 1}
    return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": metadata, "status": status}


def _ready(status: str, message: str = "") -> Body:
    return _widget(observedGeneration=1, conditions=[{"type": "Ready", "status": status, "message": message}])


WIDGET = Identity("example.org", "Widget", "shop", "x")


class _Watched:
    """Judges one object again and again, each time at a later moment."""

    def __init__(self, target_: Target) -> None:
        self.target = target_
        self.last: Progress | None = None

    def at(self, now: float, body: Body | None, around: Sequence[Body] = ()) -> tuple[State, str]:
        live = {identify(body): body} if body else {}
        before = {seen.target.identity: seen for seen in self.last.objects} if self.last else None
        self.last = judge([self.target], live, Surroundings.of(around), now=now, before=before)
        return self.last.objects[0].health.state, self.last.objects[0].health.reason


def test_the_deadline_counts_from_the_first_look() -> None:
    """What is not healthy in its time has failed, with the last thing that it lacked."""
    watched = _Watched(Target(WIDGET, seconds=100))
    assert watched.at(5000, _ready("False", "1 of 3"))[0] == State.PROGRESSING
    assert watched.at(5099, _ready("False", "2 of 3"))[0] == State.PROGRESSING
    assert watched.at(5100, _ready("False", "2 of 3")) == (
        State.FAILED,
        "Ready: 2 of 3 (not healthy after 100 s)",
    )
    assert watched.at(5101, _ready("True"))[0] == State.HEALTHY


def test_what_does_not_move_fails() -> None:
    """A Ready=False that says the same for too long has failed; one that says another thing goes on."""
    watched = _Watched(Target(WIDGET, seconds=1000, still_seconds=60))
    assert watched.at(0, _ready("False", "1 of 3"))[0] == State.PROGRESSING
    assert watched.at(59, _ready("False", "2 of 3"))[0] == State.PROGRESSING
    assert watched.at(118, _ready("False", "2 of 3"))[0] == State.PROGRESSING
    assert watched.at(119, _ready("False", "2 of 3")) == (State.FAILED, "Ready: 2 of 3 (nothing moved for 60 s)")


@pytest.mark.parametrize("status", ["True", "Stalled"])
def test_what_proves_no_generation_is_believed_only_when_it_stays(status: str) -> None:
    """Just written, and without an observed generation: neither healthy nor failed before some seconds of the same."""
    kind = "Stalled" if status == "Stalled" else "Ready"
    body = _widget(conditions=[{"type": kind, "status": "True"}])
    fresh = _Watched(Target(WIDGET, fresh=True))
    assert fresh.at(0, body)[0] == State.PROGRESSING
    assert fresh.at(SETTLE_SECONDS, body)[0] == (State.FAILED if kind == "Stalled" else State.HEALTHY)
    assert _Watched(Target(WIDGET)).at(0, body)[0] != State.PROGRESSING


def test_pods_that_nobody_asks_must_run_for_a_while() -> None:
    """Without a readiness probe a container is ready before it crashes: every change meanwhile begins the time anew."""

    def ready(version: str, **more: object) -> Body:
        metadata = {"name": "x", "namespace": "shop", "generation": 1, "resourceVersion": version}
        spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": "web", **more}]}}}
        status = {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
        }
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec, "status": status}

    web = Target(Identity("apps", "Deployment", "shop", "x"), fresh=True)
    watched = _Watched(web)
    first, second = ready("1"), ready("3")  # it was not ready in version 2
    assert [watched.at(now, body)[0] for now, body in ((0, first), (4, first), (5.5, second))] == [
        State.PROGRESSING
    ] * 3
    assert watched.at(9.5, second)[0] == State.PROGRESSING
    assert watched.at(10.5, second)[0] == State.HEALTHY
    assert _Watched(web).at(0, ready("1", readinessProbe={}))[0] == State.HEALTHY


def test_what_is_hopeless_fails_before_its_time() -> None:
    """An image that the registry does not have is waited for half a minute, and not until the deadline."""
    metadata = {"name": "web", "namespace": "shop", "uid": "web", "generation": 1}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {},
        "status": {"observedGeneration": 1},
    }
    waiting = {"reason": "ErrImagePull", "message": "r/web: not found"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-0",
            "namespace": "shop",
            "uid": "p",
            "ownerReferences": [{"uid": "web", "controller": True}],
        },
        "status": {"containerStatuses": [{"name": "web", "state": {"waiting": waiting}}]},
    }
    watched = _Watched(Target(identify(stateful), seconds=1000))
    assert watched.at(0, stateful, [pod])[0] == State.PROGRESSING
    assert watched.at(PATIENCE / 2, stateful)[0] == State.PROGRESSING
    assert watched.at(PATIENCE, stateful)[0] == State.PROGRESSING
    assert watched.at(PATIENCE, stateful, [pod])[0] == State.FAILED
    assert watched.last is not None
    assert "r/web: not found" in watched.last.note


def test_a_claim_without_a_consumer_is_not_waited_for() -> None:
    """A class that binds at first use, and nothing that uses it: healthy; with a pod that names it, waited for."""
    metadata = {"name": "data", "namespace": "shop", "uid": "c"}
    claim: Body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "status": {"phase": "Pending"},
    }
    volumes = [{"persistentVolumeClaim": {"claimName": "data"}}]
    pod: Body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop", "uid": "p"},
        "spec": {"volumes": volumes},
    }
    events = {"c": [{"reason": "WaitForFirstConsumer", "type": "Normal"}]}
    targets, live = [Target(identify(claim))], {identify(claim): claim}
    assert judge(targets, live, Surroundings.of([], events), now=0).done
    assert not judge(targets, live, Surroundings.of([pod], events), now=0).done
    assert not judge(targets, live, now=0).done


def test_an_objects_own_times_come_from_git() -> None:
    """Annotations of the manifest replace the environment's times; what lives in the cluster has no say."""
    annotations = {HEALTH_TIMEOUT: "10m", NO_PROGRESS_TIMEOUT: "1m30s"}
    body = {**_widget(), "metadata": {"name": "x", "namespace": "shop", "annotations": annotations}}
    own = target(Manifest(body, "shop", {}), seconds=300, still_seconds=120)
    assert (own.seconds, own.still_seconds) == (600, 90)
    plain = target(Manifest(_widget(), "shop", {}), seconds=300)
    assert (plain.seconds, plain.still_seconds) == (300, float("inf"))


def test_progress_counts_and_names_what_is_missing() -> None:
    """How many of how many, the failed first, a few by name, the others counted."""
    targets = [Target(Identity("", "Secret", "shop", f"s{n}"), "shop") for n in range(5)] + [Target(WIDGET, "widgets")]
    stalled = _widget(observedGeneration=1, conditions=[{"type": "Stalled", "status": "True", "reason": "No"}])
    seen = judge(targets, {WIDGET: stalled}, now=0)
    assert seen.note == (
        "0 of 6 healthy: Widget/shop/x: Stalled: No; Secret/shop/s0: does not exist; "
        "Secret/shop/s1: does not exist; 3 more"
    )
    assert (seen.done, seen.settled, seen.percent) == (False, False, 0.0)
    assert {name: part.settled for name, part in seen.applications.items()} == {"shop": False, "widgets": True}
    assert judge([], {}, now=0).done


def test_what_did_not_change_is_not_judged_again() -> None:
    """The same object as before keeps its verdict: ten thousand healthy ones cost a look-up each."""
    watched = _Watched(Target(WIDGET))
    body = _ready("True")
    watched.at(0, body)
    assert watched.last is not None
    first = watched.last.objects[0]
    body["status"]["conditions"] = []  # not seen: the object itself is the same
    watched.at(1, body)
    assert watched.last.objects[0] is first
