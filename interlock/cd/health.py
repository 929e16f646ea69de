"""Whether an object does what it is for, read from itself and its pods. After kstatus, with its known gaps closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from interlock.cd.objects import Body, subject
from interlock.contract.render import Identity


class State(StrEnum):
    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    FAILED = "failed"


@dataclass(frozen=True)
class Health:
    """`reason` says what is missing; nothing when healthy."""

    state: State
    reason: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a wait is: objects that are healthy, all of them, and what the others lack."""

    healthy: int
    total: int
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.healthy == self.total

    @property
    def percent(self) -> float:
        return 100.0 * self.healthy / self.total if self.total else 100.0

    @property
    def note(self) -> str:
        lacking = "; ".join((*self.failed, *self.missing)[:3])
        return f"{self.healthy} of {self.total} healthy" + (f": {lacking}" if lacking else "")


HEALTHY = Health(State.HEALTHY)


def _waiting(reason: str) -> Health:
    return Health(State.PROGRESSING, reason)


def _failed(reason: str) -> Health:
    return Health(State.FAILED, reason)


def progress(bodies: Mapping[Identity, Body | None], pods: Iterable[Body] = ()) -> Progress:
    """All wanted objects at one moment. None is an object that does not live."""
    known = tuple(pods)
    found = {identity: assess(body, known) for identity, body in bodies.items()}
    lines = {
        state: tuple(f"{subject(i)}: {health.reason}" for i, health in found.items() if health.state == state)
        for state in (State.PROGRESSING, State.FAILED)
    }
    healthy = sum(health.state == State.HEALTHY for health in found.values())
    return Progress(healthy, len(found), lines[State.PROGRESSING], lines[State.FAILED])


def assess(body: Body | None, pods: Iterable[Body] = ()) -> Health:
    """An object's health. `pods` are those of its namespace: they tell why a workload waits."""
    if body is None:
        return _waiting("does not exist")
    if body["metadata"].get("deletionTimestamp"):
        return _waiting("is being deleted")
    status = body.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and observed != body["metadata"].get("generation", observed):
        return _waiting("its controller has not seen the newest change yet")
    health = _rule(body)(body, status)
    if health.state == State.PROGRESSING and (why := _pod_reason(body, pods)):
        return Health(health.state, f"{health.reason}; {why}")
    return health


def _rule(body: Body) -> Callable[[Body, Mapping[str, Any]], Health]:
    group, _, _ = body["apiVersion"].rpartition("/")
    if rule := _RULES.get((group, body["kind"])):
        return rule
    return _generic if "." in group and not group.endswith(".k8s.io") else _plain


def _plain(_body: Body, _status: Mapping[str, Any]) -> Health:
    """A built-in kind that is what it says as soon as it exists."""
    return HEALTHY


def _generic(body: Body, status: Mapping[str, Any]) -> Health:
    """A custom resource: without a status nobody has looked at it yet."""
    if not status:
        return _waiting("has no status yet")
    if _condition(status, "Reconciling") == "True":
        return _waiting(_said(status, "Reconciling"))
    if _condition(status, "Stalled") == "True":
        return _failed(_said(status, "Stalled"))
    if _condition(status, "Ready") in {"False", "Unknown"}:
        return _waiting(_said(status, "Ready"))
    return HEALTHY


def _deployment(body: Body, status: Mapping[str, Any]) -> Health:
    if _why(status, "Progressing") == "ProgressDeadlineExceeded":
        return _failed("its rollout made no progress in time")
    wanted = _wanted(body)
    if "observedGeneration" not in status:
        return _waiting("its controller has not seen it yet")
    if (updated := status.get("updatedReplicas", 0)) < wanted:
        return _waiting(f"{updated} of {wanted} replicas are new")
    if (extra := status.get("replicas", 0) - updated) > 0:
        return _waiting(f"{extra} old replicas still run")
    if (available := status.get("availableReplicas", 0)) < wanted:
        return _waiting(f"{available} of {wanted} replicas are available")
    return HEALTHY


def _stateful_set(body: Body, status: Mapping[str, Any]) -> Health:
    wanted = _wanted(body)
    if "observedGeneration" not in status:
        return _waiting("its controller has not seen it yet")
    if (ready := status.get("readyReplicas", 0)) < wanted:
        return _waiting(f"{ready} of {wanted} replicas are ready")
    strategy = body["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return HEALTHY
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if (updated := status.get("updatedReplicas", 0)) < wanted - partition:
        return _waiting(f"{updated} of {wanted - partition} replicas are new")
    if not partition and status.get("currentRevision") != status.get("updateRevision"):
        return _waiting("its replicas are of two revisions")
    return HEALTHY


def _daemon_set(_body: Body, status: Mapping[str, Any]) -> Health:
    if "observedGeneration" not in status:
        return _waiting("its controller has not seen it yet")
    wanted = status.get("desiredNumberScheduled", 0)
    for name, words in (("updatedNumberScheduled", "are new"), ("numberAvailable", "are available")):
        if (count := status.get(name, 0)) < wanted:
            return _waiting(f"{count} of {wanted} pods {words}")
    return HEALTHY


def _job(_body: Body, status: Mapping[str, Any]) -> Health:
    """Complete, not merely running."""
    if _condition(status, "Failed") == "True":
        return _failed(_said(status, "Failed"))
    if _condition(status, "Complete") == "True":
        return HEALTHY
    return _waiting(f"has not completed: {status.get('active', 0)} active, {status.get('failed', 0)} failed")


def _pod(body: Body, status: Mapping[str, Any]) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Succeeded" or _condition(status, "Ready") == "True":
        return HEALTHY
    why = _trouble(body)
    return _failed(why or "has failed") if phase == "Failed" else _waiting(why or f"is {phase}")


def _service(body: Body, status: Mapping[str, Any]) -> Health:
    if body["spec"].get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return _waiting("has no load balancer address")
    return HEALTHY


def _claim(_body: Body, status: Mapping[str, Any]) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Lost":
        return _failed("its volume is lost")
    return HEALTHY if phase == "Bound" else _waiting(f"is {phase}, not bound")


def _definition(_body: Body, status: Mapping[str, Any]) -> Health:
    if _condition(status, "NamesAccepted") == "False":
        return _failed(_said(status, "NamesAccepted"))
    return HEALTHY if _condition(status, "Established") == "True" else _waiting("is not established")


def _namespace(_body: Body, status: Mapping[str, Any]) -> Health:
    return HEALTHY if status.get("phase") == "Active" else _waiting(f"is {status.get('phase', 'not active')}")


_RULES: Mapping[tuple[str, str], Callable[[Body, Mapping[str, Any]], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}


def _wanted(body: Body) -> int:
    return int(body["spec"].get("replicas", 1))


def _find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _condition(status: Mapping[str, Any], kind: str) -> str:
    return str(_find(status, kind).get("status", ""))


def _why(status: Mapping[str, Any], kind: str) -> str:
    return str(_find(status, kind).get("reason", ""))


def _said(status: Mapping[str, Any], kind: str) -> str:
    found = _find(status, kind)
    return f"{found.get('reason', kind)}: {found.get('message', 'no message')}"


# pods tell why ---------------------------------------------------------------------------------------


def _pod_reason(body: Body, pods: Iterable[Body]) -> str:
    """The newest pod of a workload that is in trouble, in its own words."""
    selector = (body.get("spec") or {}).get("selector") or {}
    selector = selector.get("matchLabels") if body["kind"] != "Service" else None
    if not selector:
        return ""
    namespace = body["metadata"].get("namespace")
    mine = [p for p in pods if p["metadata"].get("namespace") == namespace and _selected(p, selector)]
    mine.sort(key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
    return next((f"pod {p['metadata']['name']}: {why}" for p in mine if (why := _trouble(p))), "")


def _selected(pod: Body, selector: Mapping[str, str]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _trouble(pod: Body) -> str:
    """What keeps a pod from being ready: not scheduled, an image that does not come, a container that ends."""
    status = pod.get("status") or {}
    if _condition(status, "PodScheduled") == "False":
        return _said(status, "PodScheduled")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if reason := waiting.get("reason"):
            if reason in {"ContainerCreating", "PodInitializing"}:
                continue
            return f"container {container['name']}: {reason}" + _detail(waiting, container)
        if ended.get("exitCode"):
            return f"container {container['name']}: exited with {ended['exitCode']}"
    return str(status.get("message", ""))


def _detail(waiting: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    last = ((container.get("lastState") or {}).get("terminated") or {}).get("exitCode")
    parts = [str(waiting["message"])] if waiting.get("message") else []
    parts += [f"it exited with {last}"] if last is not None else []
    return f" ({'; '.join(parts)})" if parts else ""
