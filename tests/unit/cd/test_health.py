"""When an object is healthy, and what is said when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.health import State, assess, progress
from interlock.cd.objects import Body
from interlock.contract.render import Identity


def _body(api_version: str, kind: str, *, spec: object = None, status: object = None, **metadata: object) -> Body:
    named = {"name": "x", "namespace": "shop", "generation": 2, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": named, "spec": spec or {}, "status": status or {}}


def _deployment(**status: Any) -> Body:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}}
    return _body("apps/v1", "Deployment", spec=spec, status={"observedGeneration": 2, **status})


READY = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (None, State.PROGRESSING, "does not exist"),
        (_deployment(**READY), State.HEALTHY, ""),
        (_deployment(**{**READY, "observedGeneration": 1}), State.PROGRESSING, "not seen the newest change"),
        (_deployment(**{**READY, "updatedReplicas": 1}), State.PROGRESSING, "1 of 2 replicas are new"),
        (_deployment(**{**READY, "replicas": 3}), State.PROGRESSING, "1 old replicas still run"),
        (_deployment(**{**READY, "availableReplicas": 0}), State.PROGRESSING, "0 of 2 replicas are available"),
        (_body("apps/v1", "Deployment", spec={"replicas": 0}), State.PROGRESSING, "has not seen it"),
        (
            _deployment(conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]),
            State.FAILED,
            "no progress in time",
        ),
        (_body("apps/v1", "DaemonSet"), State.PROGRESSING, "has not seen it"),
        (
            _body("apps/v1", "DaemonSet", status={"observedGeneration": 2, "desiredNumberScheduled": 1}),
            State.PROGRESSING,
            "0 of 1 pods are new",
        ),
        (
            _body(
                "apps/v1",
                "StatefulSet",
                spec={"replicas": 1},
                status={
                    "observedGeneration": 2,
                    "readyReplicas": 1,
                    "updatedReplicas": 1,
                    "currentRevision": "a",
                    "updateRevision": "b",
                },
            ),
            State.PROGRESSING,
            "two revisions",
        ),
        (_body("batch/v1", "Job", status={"active": 1}), State.PROGRESSING, "has not completed: 1 active"),
        (_body("batch/v1", "Job", status={"conditions": [{"type": "Complete", "status": "True"}]}), State.HEALTHY, ""),
        (
            _body(
                "batch/v1",
                "Job",
                status={
                    "conditions": [
                        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "gave up"}
                    ]
                },
            ),
            State.FAILED,
            "BackoffLimitExceeded: gave up",
        ),
        (_body("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), State.PROGRESSING, "not bound"),
        (_body("v1", "Service", spec={"type": "LoadBalancer"}), State.PROGRESSING, "no load balancer address"),
        (_body("v1", "Service", spec={"type": "ClusterIP"}), State.HEALTHY, ""),
        (_body("v1", "ConfigMap"), State.HEALTHY, ""),
        (_body("v1", "ConfigMap", deletionTimestamp="t"), State.PROGRESSING, "is being deleted"),
        (_body("apiextensions.k8s.io/v1", "CustomResourceDefinition"), State.PROGRESSING, "not established"),
        (_body("example.org/v1", "Widget"), State.PROGRESSING, "has no status yet"),
        (
            _body(
                "example.org/v1",
                "Widget",
                status={"conditions": [{"type": "Ready", "status": "False", "reason": "No"}]},
            ),
            State.PROGRESSING,
            "No:",
        ),
        (_body("example.org/v1", "Widget", status={"observedGeneration": 2}), State.HEALTHY, ""),
        (_body("networking.k8s.io/v1", "Ingress"), State.HEALTHY, ""),
    ],
)
def test_each_kind_by_its_rule(body: Body | None, state: State, words: str) -> None:
    """Observed generation first; complete and not running; no status is no health."""
    health = assess(body)
    assert health.state == state
    assert words in health.reason


def test_a_pod_tells_why_its_workload_waits() -> None:
    """The newest troubled pod of the selector gives the reason; another application's pod does not."""
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "web", "state": {"waiting": waiting}}]}
    pod = _body("v1", "Pod", status=status, labels={"app": "x"})
    other = _body("v1", "Pod", status={"phase": "Failed", "message": "theirs"}, labels={"app": "y"})
    health = assess(_deployment(), [other, pod])
    assert health.reason == "0 of 2 replicas are new; pod x: container web: ImagePullBackOff (not found)"


def test_progress_counts_and_names_what_is_missing() -> None:
    """x of n, and the first reasons in one line."""
    seen = progress({Identity("apps", "Deployment", "shop", "x"): _deployment(), Identity("", "Secret", "", "s"): None})
    assert seen.note == "0 of 2 healthy: Deployment/shop/x: 0 of 2 replicas are new; Secret/s: does not exist"
    assert (seen.done, seen.percent) == (False, 0.0)
