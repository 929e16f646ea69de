"""Whether an object does what it is for, read from itself alone. After kstatus, with its known gaps closed.

kstatus: sigs.k8s.io/cli-utils/pkg/kstatus/status (core.go, generic.go). Where we say less than it does: a Job must
complete, a custom resource whose kind reports conditions must have them, a condition counts only for the generation
that it names. Where more: pods of a workload tell why it waits (`interlock.cd.causes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from interlock.cd.objects import Body, conditions, group_of
from interlock.contract.health import Judges
from interlock.contract.kinds import BUILT_IN_GROUPS


class State(StrEnum):
    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be judged: waited for, and never healthy."""


@dataclass(frozen=True)
class Health:
    """`reason` says what is missing; nothing when healthy."""

    state: State
    reason: str = ""
    sure: bool = True
    """False: it may be said of what was before, or be over in a moment. After a write it counts when it stays so."""


HEALTHY = Health(State.HEALTHY)
Kinds = Collection[tuple[str, str]]
"""(group, kind), without version."""


def assess(body: Body | None, *, rules: Judges | None = None, silent: Kinds = ()) -> Health:
    """An object's health; None is an object that does not live.

    `silent` are kinds whose definition gives their status no place for conditions: there is nothing to wait for.
    """
    if body is None:
        return _waiting("does not exist")
    metadata = _mapping(body["metadata"])
    if metadata.get("deletionTimestamp"):
        held = metadata.get("finalizers")
        return _waiting("is being deleted" + (f", held by the finalizer {', '.join(map(str, held))}" if held else ""))
    status = _mapping(body.get("status"))
    if (seen := status.get("observedGeneration")) is not None and seen != _generation(body, seen):
        return _waiting("its controller has not seen the newest change yet")
    group, kind = group_of(body["apiVersion"]), body["kind"]
    if group in BUILT_IN_GROUPS:
        found = _RULES.get((group, kind), _plain)(body, status)
        return replace(found, sure=not (found.state == State.HEALTHY and _only_started(body)))
    if rules and (rule := rules.of(group, kind)) and (verdict := rule.judge(body)):
        return Health(State(verdict.state), verdict.reason, sure=_proves_observed(body, status))
    return _custom(body, status, silent=(group, kind) in silent)


def _generation(body: Body, otherwise: object) -> object:
    return _mapping(body["metadata"]).get("generation", otherwise)


def _waiting(reason: str) -> Health:
    return Health(State.PROGRESSING, reason)


def _failed(reason: str) -> Health:
    return Health(State.FAILED, reason)


def _plain(_body: Body, _status: Mapping[str, Any]) -> Health:
    """A kind that is what it says as soon as it exists, and needs nobody to look at it."""
    return HEALTHY


# custom resources ------------------------------------------------------------------------------------


def _custom(body: Body, status: Mapping[str, Any], *, silent: bool) -> Health:
    """Reconciling, Stalled and Ready as kstatus reads them; a condition of an older generation says nothing."""
    if not status:
        return HEALTHY if silent else _waiting("has no status yet: no controller has looked at it")
    generation = _generation(body, None)
    for condition in _conditions(status):
        named = condition.get("observedGeneration")
        known = named is not None and generation is not None
        if str(condition.get("type")) in _STANDARD and known and named != generation:
            return _waiting(f"its condition {condition['type']} is of generation {named}, not {generation}")
    found = _by_conditions(status)
    return replace(found, sure=_proves_observed(body, status))


_STANDARD = frozenset({"Ready", "Reconciling", "Stalled"})


def _by_conditions(status: Mapping[str, Any]) -> Health:
    if _is(status, "Stalled", "True"):
        return _failed(_said(status, "Stalled"))
    if _is(status, "Reconciling", "True"):
        return _waiting(_said(status, "Reconciling"))
    if _find(status, "Ready") and not _is(status, "Ready", "True"):
        return _waiting(_said(status, "Ready"))
    return HEALTHY


def _proves_observed(body: Body, status: Mapping[str, Any]) -> bool:
    """Whether a generation stands beside what the controller says, or the kind has no generations at all."""
    if _generation(body, None) is None:
        return True
    return "observedGeneration" in status or any("observedGeneration" in c for c in _conditions(status))


def _only_started(body: Body) -> bool:
    """Whether the pods of a workload are ready as soon as they have started: nobody asks them whether they are."""
    spec = _mapping(body.get("spec"))
    pod = spec if body["kind"] == "Pod" else _mapping(_mapping(spec.get("template")).get("spec"))
    containers = pod.get("containers")
    if not has_pods(group_of(body["apiVersion"]), body["kind"]) or body["kind"] == "Job" or spec.get("minReadySeconds"):
        return False
    return spec.get("replicas") != 0 and any("readinessProbe" not in each for each in containers or ())


# workloads -------------------------------------------------------------------------------------------

_UNSEEN = "its controller has not seen it yet"


def _deployment(body: Body, status: Mapping[str, Any]) -> Health:
    if "observedGeneration" not in status:
        return _waiting(_UNSEEN)
    wanted, spec = _wanted(body), _mapping(body.get("spec"))
    if not spec.get("paused"):
        if _find(status, "Progressing").get("reason") == "ProgressDeadlineExceeded":
            return _failed(f"its roll-out made no progress in time: {_counted(status, wanted)}")
        if (updated := _number(status, "updatedReplicas")) < wanted:
            return _waiting(f"{updated} of {wanted} replicas are new")
        if (extra := _number(status, "replicas") - updated) > 0:
            return _waiting(f"{extra} old {_replicas(extra)} still")
    if min(_number(status, "availableReplicas"), _number(status, "readyReplicas")) < wanted:
        return _waiting(_counted(status, wanted))
    return HEALTHY


def _counted(status: Mapping[str, Any], wanted: int) -> str:
    ready, available = _number(status, "readyReplicas"), _number(status, "availableReplicas")
    return f"{ready} of {wanted} replicas are ready" if ready < wanted else f"{available} of {wanted} are available"


def _replicas(count: int) -> str:
    return "replica runs" if count == 1 else "replicas run"


def _replica_set(body: Body, status: Mapping[str, Any]) -> Health:
    if "observedGeneration" not in status:
        return _waiting(_UNSEEN)
    if _is(status, "ReplicaFailure", "True"):
        return _waiting(_said(status, "ReplicaFailure"))
    wanted = _wanted(body)
    if min(_number(status, "availableReplicas"), _number(status, "readyReplicas")) < wanted:
        return _waiting(_counted(status, wanted))
    if (extra := _number(status, "replicas") - wanted) > 0:
        return _waiting(f"{extra} {_replicas(extra)} too many")
    return HEALTHY


def _stateful_set(body: Body, status: Mapping[str, Any]) -> Health:
    if "observedGeneration" not in status:
        return _waiting(_UNSEEN)
    wanted = _wanted(body)
    if (ready := _number(status, "readyReplicas")) < wanted:
        return _waiting(f"{ready} of {wanted} replicas are ready")
    if (extra := _number(status, "replicas") - wanted) > 0:
        return _waiting(f"{extra} {_replicas(extra)} too many")
    return _stateful_roll_out(body, status, wanted)


def _stateful_roll_out(body: Body, status: Mapping[str, Any], wanted: int) -> Health:
    strategy = _mapping(_mapping(body.get("spec")).get("updateStrategy"))
    if strategy.get("type") == "OnDelete":  # whoever deletes a pod makes it new: nothing to wait for
        return HEALTHY
    partition = _number(_mapping(strategy.get("rollingUpdate")), "partition")
    if (updated := _number(status, "updatedReplicas")) < wanted - partition:
        return _waiting(f"{updated} of {wanted - partition} replicas are new")
    if not partition and wanted and status.get("currentRevision") != status.get("updateRevision"):
        return _waiting("its replicas are of two revisions")
    return HEALTHY


def _daemon_set(body: Body, status: Mapping[str, Any]) -> Health:
    if "observedGeneration" not in status or "desiredNumberScheduled" not in status:
        return _waiting(_UNSEEN)
    wanted = _number(status, "desiredNumberScheduled")
    counts = [("currentNumberScheduled", "run"), ("numberReady", "are ready"), ("numberAvailable", "are available")]
    if _mapping(_mapping(body.get("spec")).get("updateStrategy")).get("type") != "OnDelete":
        counts.insert(1, ("updatedNumberScheduled", "are new"))
    for name, words in counts:
        if (count := _number(status, name)) < wanted:
            return _waiting(f"{count} of {wanted} pods {words}")
    return HEALTHY


def _job(_body: Body, status: Mapping[str, Any]) -> Health:
    """Complete, not merely running; one that somebody suspended is as he wants it."""
    if _is(status, "Failed", "True"):
        return _failed(_said(status, "Failed"))
    if _is(status, "Complete", "True") or _is(status, "Suspended", "True"):
        return HEALTHY
    return _waiting(f"has not completed: {_number(status, 'active')} active, {_number(status, 'failed')} failed")


def _pod(_body: Body, status: Mapping[str, Any]) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Succeeded" or _is(status, "Ready", "True"):
        return HEALTHY
    said = f": {status['message']}" if status.get("message") else ""
    return _failed(f"has failed{said}") if phase == "Failed" else _waiting(f"is {phase} and not ready{said}")


# others ----------------------------------------------------------------------------------------------


def _service(body: Body, status: Mapping[str, Any]) -> Health:
    spec = _mapping(body.get("spec"))
    if spec.get("type") == "LoadBalancer" and not _mapping(status.get("loadBalancer")).get("ingress"):
        return _waiting("has no load balancer address")
    return HEALTHY


def _claim(_body: Body, status: Mapping[str, Any]) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Lost":
        return _failed("its volume is lost")
    return HEALTHY if phase == "Bound" else _waiting(f"is {phase}, not bound")


def _volume(_body: Body, status: Mapping[str, Any]) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Failed":
        return _failed(str(status.get("message") or "its volume has failed"))
    return _waiting("is Pending") if phase == "Pending" else HEALTHY


def _definition(_body: Body, status: Mapping[str, Any]) -> Health:
    if _is(status, "NamesAccepted", "False"):
        return _failed(_said(status, "NamesAccepted"))
    if _is(status, "Established", "True"):
        return HEALTHY
    refused = _is(status, "Established", "False") and _find(status, "Established").get("reason") != "Installing"
    return _failed(_said(status, "Established")) if refused else _waiting("is not established")


def _namespace(_body: Body, status: Mapping[str, Any]) -> Health:
    return HEALTHY if status.get("phase") == "Active" else _waiting(f"is {status.get('phase', 'not active')}")


def _autoscaler(_body: Body, status: Mapping[str, Any]) -> Health:
    """It reaches what it scales, and can read what it scales by; scaling of what has no replicas is off."""
    if not _find(status, "AbleToScale"):
        return _waiting(_UNSEEN)
    if _is(status, "AbleToScale", "False"):
        return _waiting(_said(status, "AbleToScale"))
    active = _find(status, "ScalingActive")
    if active.get("status") == "False" and active.get("reason") != "ScalingDisabled":
        return _waiting(_said(status, "ScalingActive"))
    return HEALTHY


def _disruption_budget(_body: Body, status: Mapping[str, Any]) -> Health:
    """Its numbers were computed; that they allow no disruption now is no fault."""
    if "observedGeneration" not in status:
        return _waiting(_UNSEEN)
    if _find(status, "DisruptionAllowed").get("reason") == "SyncFailed":
        return _waiting(_said(status, "DisruptionAllowed"))
    return HEALTHY


def _api_service(_body: Body, status: Mapping[str, Any]) -> Health:
    return HEALTHY if _is(status, "Available", "True") else _waiting(_said(status, "Available"))


_RULES: Mapping[tuple[str, str], Callable[[Body, Mapping[str, Any]], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Namespace"): _namespace,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
_WITH_PODS = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("", "Pod"),
    }
)


def has_pods(group: str, kind: str) -> bool:
    """Whether pods tell of an object's health: it may lose it at any moment."""
    return (group, kind) in _WITH_PODS


def moves(group: str, kind: str) -> bool:
    """Whether somebody looks after the kind's objects; the others are healthy from the moment in which they exist."""
    return group not in BUILT_IN_GROUPS or (group, kind) in _RULES


def says_nothing(openapi: Mapping[str, Any], api_version: str, kind: str) -> bool | None:
    """Whether a custom kind's definition gives its status no field: nothing will ever be told there.

    `openapi` is the server's OpenAPI v3 document of the group's version; None when it does not have the kind.
    """
    group, _, version = api_version.rpartition("/")
    named = {"group": group, "version": version, "kind": kind}
    schemas = _mapping(_mapping(openapi.get("components")).get("schemas")).values()
    mine = [each for each in schemas if named in (each.get("x-kubernetes-group-version-kind") or ())]
    if not mine:
        return None
    free = "x-kubernetes-preserve-unknown-fields"
    status = _mapping(mine[0].get("properties")).get("status")
    if status is None:
        return not mine[0].get(free)
    return not (_mapping(status).get("properties") or _mapping(status).get(free))


# reading ---------------------------------------------------------------------------------------------
# A custom resource's status has whatever its definition lets in.


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) else 0


def _wanted(body: Body) -> int:
    found = _mapping(body.get("spec")).get("replicas")
    return found if isinstance(found, int) else 1


def _conditions(status: Mapping[str, Any]) -> tuple[Body, ...]:
    return conditions({"status": status})


def _find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in _conditions(status) if each.get("type") == kind), {})


def _is(status: Mapping[str, Any], kind: str, value: str) -> bool:
    return _find(status, kind).get("status") == value


def _said(status: Mapping[str, Any], kind: str) -> str:
    """A condition in its own words: `Ready: Creating: waits for its volume`."""
    found = _find(status, kind)
    return ": ".join(str(part) for part in (kind, found.get("reason"), found.get("message")) if part)
