"""Paths into Kubernetes objects as people write them, and which fields are never given up.

`spec.replicas`, `metadata.labels["example.org/tier"]`, `spec.template.spec.containers[name=web].resources`,
`spec.ports[*].nodePort`: as a plan prints them, with `[*]` for any item of a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = re.compile(r"\.?([^.\[\]\s]+)")
_QUOTED = re.compile(r'\[("(?:[^"\\]|\\.)*")\]')
_ITEM = re.compile(r'\[(\*|[A-Za-z]+=(?:"(?:[^"\\]|\\.)*"|[^\],"]+)(?:,[A-Za-z]+=(?:"(?:[^"\\]|\\.)*"|[^\],"]+))*)\]')
_KEY = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\],"]+)')


@dataclass(frozen=True)
class Item:
    """Items of a list: those with these keys, as text; without keys any."""

    keys: tuple[tuple[str, str], ...] = ()


Step = str | Item
Steps = tuple[Step, ...]


def parse(text: str) -> Steps:
    """ValueError, with a sentence for people, when the text is no path."""
    steps: list[Step] = []
    place = 0
    while place < len(text):
        step, place = _step(text, place)
        steps.append(step)
    if not steps or isinstance(steps[0], Item) or text.startswith("."):
        raise ValueError(f'{text!r} is no path such as spec.replicas or metadata.labels["a.b/c"]')
    return tuple(steps)


def _step(text: str, place: int) -> tuple[Step, int]:
    if found := _QUOTED.match(text, place):
        return str(json.loads(found[1])), found.end()
    if found := _ITEM.match(text, place):
        keys = sorted((key, _value(value)) for key, value in _KEY.findall(found[1]))
        return Item(tuple(keys)), found.end()
    if (found := _NAME.match(text, place)) and (place == 0 or text[place] == "."):
        return found[1], found.end()
    raise ValueError(f"{text!r} is no path: it cannot be read from {text[place:]!r} on")


def _value(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


# what is never given up ------------------------------------------------------------------------------

_WHOLE = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "NetworkPolicy"})
_POD = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_POD_OF_OTHERS = ("spec", "template", "spec")
_CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_OF_A_POD = frozenset(
    {
        "securityContext",
        "serviceAccountName",
        "serviceAccount",
        "automountServiceAccountToken",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "hostUsers",
        "shareProcessNamespace",
    }
)
_OF_A_CONTAINER = frozenset({"name", "image", "command", "args", "securityContext", "lifecycle"})
_PROBES = frozenset({"livenessProbe", "readinessProbe", "startupProbe"})


def protected(kind: str, path: tuple[object, ...]) -> bool:
    """Whether a field is never given up to an opponent: images, containers, what they run and may do, rights, network.

    `path` is any path whose texts are fields and whose other parts are items of lists. A field that has a protected
    one below it is protected too. What a kind that we do not know calls `spec.template.spec` is taken for a pod.
    """
    if kind in _WHOLE:
        return True
    pod = _POD.get(kind, _POD_OF_OTHERS)
    if path[: len(pod)] != pod:
        return path == pod[: len(path)]
    return _protected_of_pod(path[len(pod) :])


def _protected_of_pod(tail: tuple[object, ...]) -> bool:
    match tail:
        case ():
            return True
        case (list_, *rest) if list_ in _CONTAINERS:
            return _protected_of_container(tuple(rest[1:]))
        case ("volumes", *rest):
            return len(rest) < 2 or rest[1] == "hostPath"
        case (field, *_):
            return field in _OF_A_POD
    return False


def _protected_of_container(tail: tuple[object, ...]) -> bool:
    if not tail or tail[0] in _OF_A_CONTAINER:
        return True
    return tail[0] in _PROBES and (len(tail) == 1 or tail[1] == "exec")


def spelled(steps: Steps) -> str:
    """What `parse` reads."""
    return "".join(_spelled(steps)).removeprefix(".")


def _spelled(steps: Steps) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Item):
            yield "[" + (",".join(f"{key}={value}" for key, value in step.keys) or "*") + "]"
        elif not step or re.search(r"[.\[\]\s/]", step):
            yield f"[{json.dumps(step)}]"
        else:
            yield f".{step}"
