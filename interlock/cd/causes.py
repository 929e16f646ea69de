"""Why a workload is not healthy, in the words of its own pods: image, crash, scheduling, probe, configuration, quota.

Pods are found by owner UIDs, and only those of the newest template count: what an old pod suffers from is not to be
blamed on the commit that replaces it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interlock.cd.objects import Body, annotation, conditions, group_of, label, uid

MOST_TEXT = 400
"""Characters of a cluster's message that are passed on."""
MOST_WORDS = 160
MOST_CAUSES = 3
CRASHES = 5
"""Restarts of a container after which its crashing is taken to be its own fault."""
CRASH_PATIENCE = 60.0
"""Seconds for which it may go on so, in case that it only misses something that is about to come."""
PATIENCE = 30.0
"""Seconds for which a registry must have said the same before it is believed: the kubelet asks about twice in them."""

_REVISION = "deployment.kubernetes.io/revision"
_TEMPLATE = "deprecated.daemonset.template.generation"
_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_REFUSED = re.compile(
    r"not found|manifest unknown|name unknown|no such image|denied|unauthorized|forbidden|does not exist"
    r"|\b(401|403|404)\b",
    re.IGNORECASE,
)
_ERROR = re.compile(r"error|exception|fatal|panic|fail|cannot|can't|denied|refused|no such|not found", re.IGNORECASE)
_RESTARTS = re.compile(r", \d+ restarts?$")
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class Crash:
    """A container's run that ended badly, by which its log is asked for."""

    namespace: str
    pod: str
    container: str
    restarts: int
    previous: bool
    """Whether the log is that of the run before the one that waits or runs now."""


@dataclass(frozen=True)
class Cause:
    """Who suffers, and from what. `final`: after so many seconds it does not get better by itself; None: it may."""

    subject: str
    message: str
    final: float | None = None
    crash: Crash | None = None
    log: tuple[str, ...] = ()
    """The last lines of what crashed."""

    @property
    def line(self) -> str:
        """With the line of the log that tells most: the last one about an error, or the very last."""
        telling = [line for line in self.log if _ERROR.search(line)] or self.log
        logged = f"; its log: {said(telling[-1], MOST_WORDS)}" if telling else ""
        return f"{self.plain}{logged}"

    @property
    def plain(self) -> str:
        return f"{self.subject}: {self.message}"


@dataclass(frozen=True)
class Surroundings:
    """What lives beside the objects that are waited for: pods and ReplicaSets by their owner, events by whom they name.

    `events` and `logs` have only what was asked for.
    """

    owned: Mapping[str, Sequence[Body]]
    events: Mapping[str, Sequence[Body]]
    logs: Mapping[Crash, tuple[str, ...]]
    consumers: frozenset[tuple[str, str]] = frozenset()
    """(namespace, claim) of every PersistentVolumeClaim that a pod names."""

    @classmethod
    def of(
        cls,
        bodies: Iterable[Body],
        events: Mapping[str, Sequence[Body]] | None = None,
        logs: Mapping[Crash, tuple[str, ...]] | None = None,
    ) -> Surroundings:
        owned: dict[str, list[Body]] = defaultdict(list)
        consumers: set[tuple[str, str]] = set()
        for body in bodies:
            for owner in body["metadata"].get("ownerReferences") or ():
                if owner.get("controller"):
                    owned[owner["uid"]].append(body)
            consumers |= set(_claims(body))
        # Kept as they are: what is asked for later is in them then.
        kept = {} if events is None else events, {} if logs is None else logs
        return cls(owned, *kept, frozenset(consumers))

    def pods(self, owner: str) -> tuple[Body, ...]:
        """Those that one object controls and nobody deletes, newest first."""
        found = [each for each in self.owned.get(owner, ()) if each["kind"] == "Pod" and not _leaves(each)]
        return tuple(sorted(found, key=_age, reverse=True))


NOTHING = Surroundings({}, {}, {})


def _claims(body: Body) -> Iterator[tuple[str, str]]:
    for volume in (body.get("spec") or {}).get("volumes") or () if body["kind"] == "Pod" else ():
        if claim := volume.get("persistentVolumeClaim"):
            yield body["metadata"]["namespace"], claim["claimName"]


def _leaves(body: Body) -> bool:
    return bool(body["metadata"].get("deletionTimestamp"))


def _age(body: Body) -> tuple[str, str]:
    return body["metadata"].get("creationTimestamp") or "", body["metadata"]["name"]


# from the object to its pods ----------------------------------------------------------------------------


def explain(body: Body, around: Surroundings) -> tuple[Cause, ...]:
    """Why the object waits, as far as what lives around it tells; what is said twice is said once."""
    found = tuple(_merged(_causes(body, around)))[:MOST_CAUSES]
    return tuple(replace(each, log=around.logs.get(each.crash, ())) if each.crash else each for each in found)


def suspects(body: Body, around: Surroundings) -> tuple[str, ...]:
    """The UIDs of those whose events may tell more: the object, who makes its pods, and its newest troubled pods."""
    makers, pods = _newest(body, around)
    troubled = [uid(pod) for pod in pods if not _fine(pod)]
    return tuple(dict.fromkeys((uid(body), *map(uid, makers), *troubled[:2])))


def waits_for_consumer(body: Body, around: Surroundings) -> bool:
    """Whether a claim is unbound because nothing uses it yet, and its class binds at first use (WaitForFirstConsumer).

    The class itself is the cluster owner's to read; its controller says so in an event.
    """
    metadata = body["metadata"]
    if (metadata["namespace"], metadata["name"]) in around.consumers:
        return False
    return any(event.get("reason") == "WaitForFirstConsumer" for event in around.events.get(uid(body), ()))


def _causes(body: Body, around: Surroundings) -> Iterator[Cause]:
    makers, pods = _newest(body, around)
    refusals = [each for maker in makers or (body,) for each in _refusals(maker)]
    yield from refusals
    for pod in pods:
        if not _fine(pod):
            yield from _pod(pod, around)
    if not refusals and body["kind"] != "Pod":
        for maker in (body, *makers):
            yield from _warnings(maker, around)


def _newest(body: Body, around: Surroundings) -> tuple[tuple[Body, ...], tuple[Body, ...]]:
    """Who makes the object's pods on its behalf, and those of its pods that are of the newest template."""
    if (group_of(body["apiVersion"]), body["kind"]) == ("", "Pod"):
        return (), (body,)
    pods = around.pods(uid(body))
    match body["kind"]:
        case "Deployment":
            made = _newest_replica_set(body, around)
            return (made, around.pods(uid(made[0]))) if made else ((), ())
        case "StatefulSet" if revision := (body.get("status") or {}).get("updateRevision"):
            return (), tuple(pod for pod in pods if label(pod, "controller-revision-hash") == revision)
        case "DaemonSet" if generation := annotation(body, _TEMPLATE):
            return (), tuple(pod for pod in pods if label(pod, "pod-template-generation") in {"", generation})
        case _:
            return (), pods


def _newest_replica_set(body: Body, around: Surroundings) -> tuple[Body, ...]:
    sets = [each for each in around.owned.get(uid(body), ()) if each["kind"] == "ReplicaSet"]
    current = [each for each in sets if annotation(each, _REVISION) == annotation(body, _REVISION)]
    return tuple(sorted(current, key=_age, reverse=True)[:1])


def _merged(causes: Iterable[Cause]) -> Iterator[Cause]:
    """The first to say something, with how many others say the same."""
    by_message: dict[str, list[Cause]] = defaultdict(list)
    for cause in causes:
        by_message[_RESTARTS.sub("", cause.message)].append(cause)
    for same in by_message.values():
        first, others = same[0], len(same) - 1
        subject = f"{first.subject} and {others} more" if others else first.subject
        yield replace(first, subject=subject)


# what they say ------------------------------------------------------------------------------------------


def _refusals(maker: Body) -> Iterator[Cause]:
    """Pods that cannot be made: a quota, a policy, a missing service account."""
    for condition in conditions(maker):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            yield Cause(_name(maker), f"no pod can be made: {said(condition.get('message'))}")


def _warnings(body: Body, around: Surroundings) -> Iterator[Cause]:
    """The newest warning about an object, for what its status does not say."""
    if event := _newest_warning(body, around):
        yield Cause(_name(body), f"{event.get('reason')}: {said(event.get('message'))}")


def _newest_warning(body: Body, around: Surroundings, *reasons: str) -> Body | None:
    found = [
        each
        for each in around.events.get(uid(body), ())
        if each.get("type") == "Warning" and (not reasons or each.get("reason") in reasons)
    ]
    return max(found, key=_when, default=None)


def _when(event: Body) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), event["metadata"].get("creationTimestamp") or "")


def _name(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['name']}" if body["kind"] != "Pod" else f"pod {body['metadata']['name']}"


def _fine(pod: Body) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Succeeded" or _condition(status, "Ready").get("status") == "True"


def _pod(pod: Body, around: Surroundings) -> Iterator[Cause]:
    """The first thing that keeps a pod from being ready."""
    status, name = pod.get("status") or {}, _name(pod)
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        yield Cause(name, f"not scheduled: {said(scheduled.get('message') or scheduled.get('reason'))}")
        return
    found = next(_containers(pod, status, around), None)
    if found:
        yield found
    elif status.get("reason") or status.get("message"):
        yield Cause(name, said(f"{status.get('reason', status.get('phase'))}: {status.get('message', '')}"))
    elif event := _newest_warning(pod, around):
        yield Cause(name, f"{event.get('reason')}: {said(event.get('message'))}")
    elif (ready := _condition(status, "Ready")).get("reason") == "ReadinessGatesNotReady":
        yield Cause(name, said(ready.get("message")))


def _containers(pod: Body, status: Mapping[str, Any], around: Surroundings) -> Iterator[Cause]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            word = "init container" if kind.startswith("init") else "container"
            cause = _container(pod, container, f"{word} {container.get('name')}", around)
            if cause:
                yield cause


def _container(pod: Body, container: Mapping[str, Any], who: str, around: Surroundings) -> Cause | None:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    reason = str(waiting.get("reason", ""))
    if reason in _IMAGE_REASONS:
        return _image(pod, container, who, waiting, around)
    if reason == "CrashLoopBackOff" or (ended and ended.get("exitCode")):
        return _crash(pod, container, who, ended or last, previous=not ended)
    if reason and reason not in _STARTING:
        return Cause(_name(pod), f"{who}: {reason}: {said(waiting.get('message'))}")
    if "running" not in state or container.get("ready"):
        return None
    if who.startswith("init"):  # a sidecar that has started holds up nothing
        return None if container.get("started") else Cause(_name(pod), f"{who} has not ended yet")
    return _not_ready(pod, container, who, last, around)


def _image(
    pod: Body, container: Mapping[str, Any], who: str, waiting: Mapping[str, Any], around: Surroundings
) -> Cause:
    """The image, and what the registry said; the back-off's own message leaves that out in some versions."""
    reason, message = str(waiting["reason"]), str(waiting.get("message") or "")
    event = _newest_warning(pod, around, "Failed") if reason == "ImagePullBackOff" else None
    if event and str(event.get("message", "")).startswith("Failed to pull"):
        message = str(event["message"])
    image = str(container.get("image") or "")
    final = 0.0 if reason == "InvalidImageName" else PATIENCE if _REFUSED.search(message) else None
    return Cause(_name(pod), f"{who}: cannot pull {_short(image)}: {_registry_says(message, image) or reason}", final)


def _registry_says(message: str, image: str) -> str:
    """What stands behind the last mention of the image: each program on the way repeats it before its own words."""
    answer = message.rpartition(image)[2].lstrip("\":' ") if image else ""
    return said(answer or message)


def _short(image: str) -> str:
    """Twelve digits of the digest tell images apart."""
    repository, mark, digest = image.partition("@sha256:")
    return f"{repository}{mark}{digest[:12]}" or "its image"


def _crash(pod: Body, container: Mapping[str, Any], who: str, ended: Mapping[str, Any], *, previous: bool) -> Cause:
    restarts = container.get("restartCount") or 0
    metadata = pod["metadata"]
    crash = Crash(metadata["namespace"], metadata["name"], str(container.get("name")), restarts, previous)
    final = CRASH_PATIENCE if restarts >= CRASHES and ended.get("exitCode") else None
    return Cause(_name(pod), f"{who} {_ending(ended)}{_times(restarts)}", final, crash)


def _times(restarts: int) -> str:
    return f", {restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""


def _ending(ended: Mapping[str, Any]) -> str:
    """`ended with exit code 137 (OOMKilled)`. Its message is left out: it may be the log, which is shown masked."""
    code, reason, signal = ended.get("exitCode"), ended.get("reason"), ended.get("signal")
    words = [str(reason)] if reason and reason != "Error" else []
    words += [f"signal {signal}"] if signal else []
    inside = f" ({', '.join(words)})" if words else ""
    return f"ended with exit code {code}{inside}"


def _not_ready(
    pod: Body, container: Mapping[str, Any], who: str, last: Mapping[str, Any], around: Surroundings
) -> Cause:
    event = _newest_warning(pod, around, "Unhealthy", "ProbeError")
    restarts = container.get("restartCount") or 0
    before = f"; before, it {_ending(last)}{_times(restarts)}" if last and restarts else ""
    probe = f": {said(event.get('message'))}" if event else ""
    crash = None
    if before and last.get("exitCode"):
        crash = Crash(pod["metadata"]["namespace"], pod["metadata"]["name"], str(container.get("name")), restarts, True)
    return Cause(_name(pod), f"{who} runs and is not ready{probe}{before}", crash=crash)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


# words from outside -------------------------------------------------------------------------------------


def said(text: object, most: int = MOST_TEXT) -> str:
    """A message of the cluster's on one line, cut, and with nothing in it that a terminal would obey."""
    line = printable(" ".join(str(text or "no message").split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def printable(text: str) -> str:
    """Control characters, and what turns or hides text, as escapes: `\\x1b`, `\\u202e`."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
