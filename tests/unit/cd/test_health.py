"""When an object is healthy, read from itself alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from interlock.cd.blockers import waits_for
from interlock.cd.causes import NOTHING, explain
from interlock.cd.health import HEALTHY, State, assess
from interlock.cd.objects import Body
from interlock.contract.health import HealthRule, HealthRules

WAITS, FAILED, WELL = State.PROGRESSING, State.FAILED, State.HEALTHY


def _body(api_version: str, kind: str, *, spec: object = None, status: object = None, **metadata: object) -> Body:
    named = {"name": "x", "namespace": "shop", "generation": 2, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": named, "spec": spec or {}, "status": status or {}}


def _condition(kind: str, status: str, reason: str = "", message: str = "", **more: object) -> dict[str, object]:
    return {"type": kind, "status": status, "reason": reason, "message": message, **more}


def _conditions(*conditions: dict[str, object], **status: object) -> dict[str, Any]:
    return {**status, "conditions": list(conditions)}


def _apps(kind: str, spec: Mapping[str, object] | None = None, **status: Any) -> Body:
    return _body("apps/v1", kind, spec={"replicas": 2, **(spec or {})}, status={"observedGeneration": 2, **status})


READY: dict[str, Any] = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
STALE: dict[str, Any] = {"observedGeneration": 1}
EXCEEDED: dict[str, Any] = _conditions(_condition("Progressing", "False", "ProgressDeadlineExceeded"))
DAEMONS: dict[str, Any] = {
    "desiredNumberScheduled": 2,
    "currentNumberScheduled": 2,
    "updatedNumberScheduled": 2,
    "numberReady": 2,
    "numberAvailable": 2,
}
STATEFUL: dict[str, Any] = {
    "replicas": 2,
    "readyReplicas": 2,
    "updatedReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}
TWO_REVISIONS: dict[str, Any] = {**STATEFUL, "updateRevision": "b"}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 1}}}


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (_apps("Deployment", **READY), WELL, ""),
        (_apps("Deployment", **{**READY, **STALE}), WAITS, "not seen the newest change"),
        (_apps("Deployment", **{**READY, "updatedReplicas": 1}), WAITS, "1 of 2 replicas are new"),
        (_apps("Deployment", **{**READY, "replicas": 3}), WAITS, "1 old replica runs still"),
        (_apps("Deployment", **{**READY, "availableReplicas": 0}), WAITS, "0 of 2 are available"),
        (_apps("Deployment", **{**READY, "readyReplicas": 1}), WAITS, "1 of 2 replicas are ready"),
        (_apps("Deployment", **EXCEEDED), FAILED, "no progress in time: 0 of 2 replicas are ready"),
        (_apps("Deployment", **{**EXCEEDED, **STALE}), WAITS, "not seen the newest change"),
        (_apps("Deployment", {"paused": True}, **{**READY, "updatedReplicas": 0}), WELL, ""),
        (_apps("Deployment", {"paused": True}, **{**READY, "readyReplicas": 1}), WAITS, "1 of 2 replicas are ready"),
        (_body("apps/v1", "Deployment", spec={"replicas": 0}), WAITS, "has not seen it"),
        (_apps("ReplicaSet", **READY), WELL, ""),
        (_apps("ReplicaSet", **{**READY, "availableReplicas": 1}), WAITS, "1 of 2 are available"),
        (_apps("ReplicaSet", **{**READY, "replicas": 3}), WAITS, "1 replica runs too many"),
        (
            _apps("ReplicaSet", **_conditions(_condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota"))),
            WAITS,
            "ReplicaFailure: FailedCreate: exceeded quota",
        ),
        (_apps("StatefulSet", **STATEFUL), WELL, ""),
        (_apps("StatefulSet", **{**STATEFUL, "readyReplicas": 1}), WAITS, "1 of 2 replicas are ready"),
        (_apps("StatefulSet", **{**STATEFUL, "replicas": 3}), WAITS, "1 replica runs too many"),
        (_apps("StatefulSet", **{**TWO_REVISIONS, "updatedReplicas": 1}), WAITS, "1 of 2 replicas are new"),
        (_apps("StatefulSet", **TWO_REVISIONS), WAITS, "two revisions"),
        (_apps("StatefulSet", PARTITION, **{**TWO_REVISIONS, "updatedReplicas": 1}), WELL, ""),
        (_apps("StatefulSet", PARTITION, **{**TWO_REVISIONS, "updatedReplicas": 0}), WAITS, "0 of 1 replicas are new"),
        (_apps("StatefulSet", ON_DELETE, **{**TWO_REVISIONS, "updatedReplicas": 0}), WELL, ""),
        (_apps("StatefulSet", ON_DELETE, **{**STATEFUL, "readyReplicas": 0}), WAITS, "0 of 2 replicas are ready"),
        (_apps("DaemonSet", **DAEMONS), WELL, ""),
        (_apps("DaemonSet"), WAITS, "has not seen it"),
        (_apps("DaemonSet", **{**DAEMONS, "currentNumberScheduled": 1}), WAITS, "1 of 2 pods run"),
        (_apps("DaemonSet", **{**DAEMONS, "updatedNumberScheduled": 1}), WAITS, "1 of 2 pods are new"),
        (_apps("DaemonSet", ON_DELETE, **{**DAEMONS, "updatedNumberScheduled": 0}), WELL, ""),
        (_apps("DaemonSet", ON_DELETE, **{**DAEMONS, "numberReady": 0}), WAITS, "0 of 2 pods are ready"),
        (_apps("DaemonSet", **{**DAEMONS, "desiredNumberScheduled": 0, "numberReady": 0}), WELL, ""),
    ],
)
def test_workloads(body: Body, state: State, words: str) -> None:
    """Observed generation first, then counts; what its owner stops by himself is not waited for."""
    health = assess(body)
    assert (health.state, words in health.reason) == (state, True), health


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (None, WAITS, "does not exist"),
        (_body("v1", "ConfigMap"), WELL, ""),
        (_body("v1", "ConfigMap", deletionTimestamp="t"), WAITS, "is being deleted"),
        (_body("v1", "ConfigMap", deletionTimestamp="t", finalizers=["a/b"]), WAITS, "held by the finalizer a/b"),
        (_body("batch/v1", "CronJob", spec={"suspend": True}), WELL, ""),
        (_body("batch/v1", "Job", status={"active": 1, "startTime": "t"}), WAITS, "has not completed: 1 active"),
        (_body("batch/v1", "Job", status=_conditions(_condition("Complete", "True"))), WELL, ""),
        (_body("batch/v1", "Job", status=_conditions(_condition("Suspended", "True"))), WELL, ""),
        (_body("batch/v1", "Job", status=_conditions(_condition("Suspended", "False"))), WAITS, "has not completed"),
        (
            _body(
                "batch/v1", "Job", status=_conditions(_condition("Failed", "True", "BackoffLimitExceeded", "gave up"))
            ),
            FAILED,
            "BackoffLimitExceeded: gave up",
        ),
        (_body("v1", "Pod", status={"phase": "Succeeded"}), WELL, ""),
        (_body("v1", "Pod", status={"phase": "Failed", "message": "evicted"}), FAILED, "has failed: evicted"),
        (_body("v1", "Pod", status=_conditions(_condition("Ready", "True"), phase="Running")), WELL, ""),
        (_body("v1", "Pod", status={"phase": "Running"}), WAITS, "is Running and not ready"),
        (_body("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), WAITS, "not bound"),
        (_body("v1", "PersistentVolumeClaim", status={"phase": "Lost"}), FAILED, "lost"),
        (_body("v1", "PersistentVolume", status={"phase": "Available"}), WELL, ""),
        (_body("v1", "Service", spec={"type": "LoadBalancer"}), WAITS, "no load balancer address"),
        (_body("v1", "Service", spec={"type": "ClusterIP"}), WELL, ""),
        (_body("v1", "Namespace", status={"phase": "Active"}), WELL, ""),
        (_body("apiextensions.k8s.io/v1", "CustomResourceDefinition"), WAITS, "not established"),
        (
            _body(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                status=_conditions(_condition("NamesAccepted", "False", "KindConflict", "taken")),
            ),
            FAILED,
            "KindConflict: taken",
        ),
        (
            _body(
                "apiregistration.k8s.io/v1",
                "APIService",
                status=_conditions(_condition("Available", "False", "MissingEndpoints", "no pods")),
            ),
            WAITS,
            "Available: MissingEndpoints: no pods",
        ),
        (_body("networking.k8s.io/v1", "Ingress"), WELL, ""),
        (_body("policy/v1", "PodDisruptionBudget"), WAITS, "has not seen it"),
        (_body("policy/v1", "PodDisruptionBudget", status={"observedGeneration": 2}), WELL, ""),
        (_body("policy/v1", "PodDisruptionBudget", status={"observedGeneration": 1}), WAITS, "not seen the newest"),
        (_body("autoscaling/v2", "HorizontalPodAutoscaler"), WAITS, "has not seen it"),
        (
            _body(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                status=_conditions(
                    _condition("AbleToScale", "True"), _condition("ScalingActive", "False", "FailedGetResourceMetric")
                ),
            ),
            WAITS,
            "FailedGetResourceMetric",
        ),
        (
            _body(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                status=_conditions(
                    _condition("AbleToScale", "True"), _condition("ScalingActive", "False", "ScalingDisabled")
                ),
            ),
            WELL,
            "",
        ),
    ],
)
def test_other_built_in_kinds(body: Body | None, state: State, words: str) -> None:
    """Complete and not running; bound, established, available; a kind that nobody looks after is healthy at once."""
    health = assess(body)
    assert (health.state, words in health.reason) == (state, True), health


def _widget(*conditions: dict[str, object], **status: object) -> Body:
    return _body("example.org/v1", "Widget", status=_conditions(*conditions, **status))


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (_body("example.org/v1", "Widget"), WAITS, "no status yet"),
        (_body("gateway.networking.k8s.io/v1", "Gateway"), WAITS, "no status yet"),
        (_widget(observedGeneration=2), WELL, ""),
        (_widget(observedGeneration=1), WAITS, "not seen the newest"),
        (_widget(_condition("Ready", "True")), WELL, ""),
        (_widget(_condition("Ready", "False", "Creating", "1 of 3")), WAITS, "Ready: Creating: 1 of 3"),
        (_widget(_condition("Ready", "Unknown")), WAITS, "Ready"),
        (_widget(_condition("Ready", "True", observedGeneration=1)), WAITS, "Ready is of generation 1, not 2"),
        (_widget(_condition("Stalled", "True", "Bad", observedGeneration=1)), WAITS, "Stalled is of generation 1"),
        (_widget(_condition("Ready", "True"), _condition("Reconciling", "True", "Busy")), WAITS, "Reconciling: Busy"),
        (_widget(_condition("Ready", "False"), _condition("Stalled", "True", "Quota", "no")), FAILED, "Quota: no"),
        (_widget(_condition("Stalled", "False")), WELL, ""),
        (_body("example.org/v1", "Widget", status="broken"), WAITS, "no status yet"),
        (_body("example.org/v1", "Widget", status={"conditions": "broken", "phase": "x"}), WELL, ""),
        (_body("example.org/v1", "Widget", status={"conditions": [None, 3, {"type": "Ready"}]}), WAITS, "Ready"),
    ],
)
def test_custom_resources(body: Body, state: State, words: str) -> None:
    """Reconciling, Stalled and Ready, for the generation that they name; no status is no health; odd ones are borne."""
    health = assess(body)
    assert (health.state, words in health.reason) == (state, True), health


def test_a_kind_without_conditions_has_nothing_to_wait_for() -> None:
    """Only where the definition gives no place for conditions is a missing status no reason to wait."""
    assert assess(_body("example.org/v1", "Note"), silent={("example.org", "Note")}) == HEALTHY


def test_what_names_no_generation_proves_nothing() -> None:
    """Whether a controller has seen the newest change is said by a generation beside its words, or not at all."""
    assert not assess(_widget(_condition("Ready", "True"))).sure
    assert assess(_widget(_condition("Ready", "True", observedGeneration=2))).sure
    assert assess(_widget(_condition("Ready", "True"), observedGeneration=2)).sure


# rules -----------------------------------------------------------------------------------------------

READY_AND_SYNCED = 'object.status.conditions.filter(c, c.type in ["Ready", "Synced"]).all(c, c.status == "True")'
CROSSPLANE = HealthRule(
    "crossplane",
    "*.crossplane.io",
    "*",
    healthy=READY_AND_SYNCED,
    failed='object.status.conditions.exists(c, c.type == "Synced" && c.reason == "ReconcileError")',
    message='object.status.conditions.filter(c, c.status != "True").map(c, c.type + ": " + c.reason).join(", ")',
)


def _bucket(*conditions: dict[str, object], **status: object) -> Body:
    return {**_widget(*conditions, **status), "apiVersion": "s3.aws.crossplane.io/v1beta1", "kind": "Bucket"}


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (_bucket(_condition("Ready", "True"), _condition("Synced", "True")), WELL, ""),
        (_bucket(_condition("Ready", "False", "Creating"), _condition("Synced", "True")), WAITS, "Ready: Creating"),
        (_bucket(_condition("Synced", "False", "ReconcileError")), FAILED, "Synced: ReconcileError"),
        (_bucket(_condition("Ready", "True"), observedGeneration=1), WAITS, "not seen the newest"),
        (
            {**_bucket(), "status": {}},
            State.UNKNOWN,
            'the rule crossplane has no answer: Key not found in map : "conditions"',
        ),
    ],
)
def test_a_rule_judges_its_kinds(body: Body, state: State, words: str) -> None:
    """Failed before healthy, observed generation before both; what cannot be evaluated is unknown and never healthy."""
    health = assess(body, rules=HealthRules((CROSSPLANE,)))
    assert (health.state, words in health.reason) == (state, True), health


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (HealthRule("text", "example.org", "Widget", "object.metadata.name"), "healthy gives str, not true or false"),
        (
            HealthRule("endless", "example.org", "Widget", "object.spec.n.all(a, object.spec.n.all(b, a == b))"),
            "Iteration budget exceeded",
        ),
        (HealthRule("broken", "example.org", "Widget", "true", failed="object.spec.none"), "Key not found"),
    ],
)
def test_a_rule_without_an_answer_makes_nothing_healthy(rule: HealthRule, words: str) -> None:
    """No boolean, no end, no such field: unknown, with the rule's name and the reason."""
    body = _body("example.org/v1", "Widget", spec={"n": [1] * 200}, status={"x": 1})
    health = assess(body, rules=HealthRules((rule,)))
    assert health.state == State.UNKNOWN
    assert words in health.reason
    assert rule.name in health.reason


def test_the_most_exact_rule_counts_and_built_in_kinds_have_none() -> None:
    """Group and kind before group, group before its end; a rule for everything does not touch a Deployment."""
    rules = HealthRules(
        tuple(
            HealthRule(name, group, kind, "true")
            for name, group, kind in (
                ("end", "*.example.org", "*"),
                ("end-kind", "*.example.org", "Widget"),
                ("group", "a.example.org", "*"),
                ("exact", "a.example.org", "Widget"),
            )
        )
    )
    asked = (
        ("a.example.org", "Widget"),
        ("a.example.org", "Other"),
        ("b.example.org", "Widget"),
        ("b.example.org", "O"),
    )
    assert [rule.name for group, kind in asked if (rule := rules.of(group, kind))] == [
        "exact",
        "group",
        "end-kind",
        "end",
    ]
    assert rules.of("example.org", "Widget") is None
    everything = HealthRules((HealthRule("all", "*.k8s.io", "*", "true"),))
    waiting = _body("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert assess(waiting, rules=everything).state == State.PROGRESSING


@pytest.mark.parametrize("status", [[], "text", {"conditions": "text"}, {"conditions": {"type": "Ready"}}])
@pytest.mark.parametrize("value", [[], {}, None, 1])
def test_a_custom_resources_status_may_be_anything(status: object, value: object) -> None:
    """Whoever writes it makes no run break: something is said of the object in every case."""
    condition = {"type": value, "status": value, "observedGeneration": value}
    for each in (status, {"conditions": [value]}, {"conditions": [condition, {**condition, "type": "Ready"}]}):
        body = _body("example.org/v1", "Widget", status=each, uid="u")
        assert assess(body).state in State
        assert explain(body, NOTHING) == ()
        assert waits_for(body, None) == "about to go"
