"""Where kinds that make pods describe them: the built-in ones, and custom ones whose places are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from interlock.contract.field_path import Item, Step, Steps, parse

TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "Job"): ("spec", "template"),
}
"""By group and kind, the pod template's place."""


def mapping(body: Any, where: tuple[str, ...]) -> Mapping[str, Any]:
    """What stands at a place, when it is a mapping; an empty one otherwise."""
    for part in where:
        body = body.get(part) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


@dataclass(frozen=True)
class Pod:
    """The pods that an object makes at one place. `spec` is what stands there: of a custom kind, maybe no mapping."""

    spec: Any
    metadata: Mapping[str, Any]


Places = tuple[tuple[str, str], ...]
"""Of custom kinds: `Rollout.argoproj.io`, and the path to what has `containers`, such as `spec.template.spec`."""


def makes_pods(group: str, kind: str, places: Places = ()) -> bool:
    if (group, kind) == ("", "Pod") or (group, kind) in TEMPLATES:
        return True
    return any(named == f"{kind}.{group}" for named, _ in places)


def pods(body: Mapping[str, Any], places: Places = ()) -> tuple[Pod, ...]:
    """One of a built-in kind that makes pods, one for each place of a custom kind that has something there."""
    group, kind = str(body.get("apiVersion", "")).rpartition("/")[0], str(body.get("kind", ""))
    if (group, kind) == ("", "Pod"):
        return (Pod(mapping(body, ("spec",)), mapping(body, ("metadata",))),)
    if template := TEMPLATES.get((group, kind)):
        return (Pod(mapping(body, (*template, "spec")), mapping(body, (*template, "metadata"))),)
    mine = [_steps(path) for named, path in places if named == f"{kind}.{group}"]
    return tuple(pod for steps in mine for pod in _found(body, steps))


_steps = lru_cache(maxsize=1_000)(parse)


def _found(body: Mapping[str, Any], steps: Steps) -> Iterator[Pod]:
    """A template's metadata stands beside its `spec`."""
    *way, last = steps
    around: Iterable[Any] = (body,)
    for step in way:
        around = [value for each in around for value in _below(each, step)]
    for each in around:
        metadata = mapping(each, ("metadata",)) if last == "spec" else {}
        yield from (Pod(spec, metadata) for spec in _below(each, last))


def found(body: Mapping[str, Any], path: str) -> tuple[Any, ...]:
    """What stands at a path, which may go through lists."""
    around: tuple[Any, ...] = (body,)
    for step in _steps(path):
        around = tuple(value for each in around for value in _below(each, step))
    return around


def _below(value: Any, step: Step) -> Iterator[Any]:
    """What stands there, but for nothing and null."""
    if isinstance(step, Item):
        items = value if isinstance(value, list) else ()
        yield from (item for item in items if item is not None and _is_meant(item, step))
    elif isinstance(value, Mapping) and value.get(step) is not None:
        yield value[step]


def _is_meant(item: Any, step: Item) -> bool:
    return all(isinstance(item, Mapping) and str(item.get(key)) == value for key, value in step.keys)
