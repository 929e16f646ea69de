"""policy/rules.yaml: what no manifest may be, said in CEL over the manifest. Light enough for a process of its own.

An expression says what must hold, as in a ValidatingAdmissionPolicy; one that has no answer does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from interlock.contract.cel import CelError, Program, compiled
from interlock.contract.workloads import mapping, pod_spec

Severity = Literal["deny", "warn"]
VARIABLES = ("object", "pod", "containers", "environment", "application")
"""`pod` is the specification of the pods that an object makes, `containers` has all of theirs; both may be empty."""
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_MOST_SAID = 500


@dataclass(frozen=True)
class Rule:
    name: str
    expression: str
    """What must hold."""
    message: str = ""
    message_expression: str = ""
    """CEL that gives the message; when it has no answer, `message` stands in for it."""
    severity: Severity = "deny"
    waivable: bool = True
    kinds: tuple[str, ...] = ()
    """`Deployment` of whatever group, or `Deployment.apps`; empty for all."""
    environments: tuple[str, ...] = ()
    """Names; empty for all."""
    since: str = ""
    """Where an older commit's rule comes from, that still judges its successor."""

    def about(self, body: Mapping[str, Any], environment: str) -> bool:
        if self.environments and environment not in self.environments:
            return False
        group, kind = str(body["apiVersion"]).rpartition("/")[0], str(body["kind"])
        return not self.kinds or kind in self.kinds or f"{kind}.{group}" in self.kinds

    def program(self, field: str) -> Program | None:
        """Of the field `expression` or `message_expression`. None when it is empty, CelError when it is no CEL."""
        text: str = getattr(self, field)
        return compiled(text, *VARIABLES) if text else None


@dataclass(frozen=True)
class Broken:
    """A rule that an object breaks, and what is said about it."""

    rule: str
    severity: Severity
    message: str
    waivable: bool


@dataclass(frozen=True)
class Subject:
    """An object that is judged, and whose it is."""

    body: Mapping[str, Any]
    environment: str
    application: str


def judge(rules: Iterable[Rule], subjects: Sequence[Subject]) -> Iterator[tuple[Rule, tuple[tuple[int, Broken], ...]]]:
    """Rule by rule, what it says of each object that it is about, by the object's index."""
    seen = [_variables(subject) for subject in subjects]
    for rule in rules:
        about = [index for index, subject in enumerate(subjects) if rule.about(subject.body, subject.environment)]
        broken = ((index, _broken(rule, seen[index])) for index in about)
        yield rule, tuple((index, found) for index, found in broken if found)


def _variables(subject: Subject) -> Mapping[str, object]:
    body = _without_secrets(_without_nulls(subject.body))
    pod = pod_spec(body)
    containers = [each for field in _CONTAINERS if isinstance(some := pod.get(field), list) for each in some]
    names = {"environment": subject.environment, "application": subject.application}
    return {"object": body, "pod": pod, "containers": containers, **names}


def _without_nulls(value: Any) -> Any:
    """To the API server null is the same as nothing; a rule should not have to know."""
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    """A Secret with its keys alone: a message may say anything that a rule reads."""
    if (body["apiVersion"], body["kind"]) != ("v1", "Secret"):
        return body
    hidden: dict[str, Any] = {
        field: dict.fromkeys(mapping(body, (field,)), "") for field in ("data", "stringData") if field in body
    }
    return {**body, **hidden}


def _broken(rule: Rule, variables: Mapping[str, object]) -> Broken | None:
    try:
        program = rule.program("expression")
        holds = program.evaluate(**variables) if program else False
    except CelError as error:
        return _said(rule, f"the rule has no answer, so it does not hold: {error}")
    if holds is True:
        return None
    if holds is not False:
        return _said(rule, f"the rule gives {type(holds).__name__}, not true or false, so it does not hold")
    return _said(rule, _message(rule, variables))


def _message(rule: Rule, variables: Mapping[str, object]) -> str:
    plain = rule.message or f"must hold: {rule.expression}"
    try:
        program = rule.program("message_expression")
        said = program.evaluate(**variables) if program else plain
    except CelError:
        return plain
    return said if isinstance(said, str) and said.strip() else plain


def _said(rule: Rule, message: str) -> Broken:
    message = " ".join(message.split())
    message = message if len(message) <= _MOST_SAID else f"{message[: _MOST_SAID - 1]}…"
    older = f" (a rule of {rule.since}, which still judges this commit)" if rule.since else ""
    return Broken(rule.name, rule.severity, message + older, rule.waivable)


def to_json(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    return [asdict(rule) for rule in rules]


def from_json(value: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """What `to_json` wrote, by way of JSON."""
    return tuple(
        Rule(**{**each, "kinds": tuple(each["kinds"]), "environments": tuple(each["environments"])}) for each in value
    )


def stricter(new: Sequence[Rule], old: Iterable[Rule], *, since: str) -> tuple[Rule, ...]:
    """Both: a rule that a commit changes or removes still judges that commit."""
    return (*new, *(replace(rule, since=since) for rule in old if rule not in new))


# what holds when nobody says otherwise ---------------------------------------------------------------

_POD_KINDS = ("Pod", "PodTemplate", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet")
_WORKLOADS = (*_POD_KINDS, "Job", "CronJob")
_SERVERS = ("Deployment", "StatefulSet", "DaemonSet")
_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""Those that the Pod Security Standards' baseline lets be added."""

DEFAULTS: tuple[Rule, ...] = (
    Rule(
        "no-privileged",
        "containers.all(c, !c.?securityContext.?privileged.orValue(false))",
        message="a privileged container owns its node",
        kinds=_WORKLOADS,
    ),
    Rule(
        "no-privilege-escalation",
        "containers.all(c, !c.?securityContext.?allowPrivilegeEscalation.orValue(false))",
        message="allowPrivilegeEscalation lets a process gain more rights than its parent",
        kinds=_WORKLOADS,
    ),
    Rule(
        "no-added-capabilities",
        f"containers.all(c, c.?securityContext.?capabilities.?add.orValue([]).all(a, a in {list(_CAPABILITIES)!r}))",
        message=f"capabilities may be added only among {', '.join(_CAPABILITIES)}",
        kinds=_WORKLOADS,
    ),
    Rule(
        "no-host-namespaces",
        "!pod.?hostNetwork.orValue(false) && !pod.?hostPID.orValue(false) && !pod.?hostIPC.orValue(false)",
        message="hostNetwork, hostPID and hostIPC show a container what is its node's",
        kinds=_WORKLOADS,
    ),
    Rule(
        "no-host-ports",
        "containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))",
        message="a hostPort takes a port of the node; a Service reaches pods without it",
        kinds=_WORKLOADS,
    ),
    Rule(
        "no-host-path",
        "pod.?volumes.orValue([]).all(v, !has(v.hostPath))",
        message="a hostPath volume reaches into the node",
        kinds=_WORKLOADS,
    ),
    Rule(
        "requests",
        '["cpu", "memory"].all(r, pod.?containers.orValue([]).all(c, '
        "c.?resources.?requests[?r].hasValue() || c.?resources.?limits[?r].hasValue()))",
        message="every container must request cpu and memory, so that a node has room for it",
        kinds=_WORKLOADS,
    ),
    Rule(
        "readiness",
        "!pod.?containers.orValue([]).exists(c, c.?ports.orValue([]).size() > 0) || "
        "pod.containers.exists(c, has(c.readinessProbe))",
        message="pods with a port must have a readinessProbe, or a roll-out sends requests to what is not there yet",
        kinds=_SERVERS,
    ),
)
