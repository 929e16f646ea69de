"""What the API server asks of pods and Services beyond their schema, as far as it needs nothing but the manifest.

From `pkg/apis/core/validation` of Kubernetes; only what holds in every supported version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from interlock.contract.schema import Problem
from interlock.contract.strict_yaml import Path
from interlock.contract.workloads import TEMPLATES, mapping

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_MOST_PORT = 65535
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_CONTAINERS = ("initContainers", "containers")
_ALWAYS = ("DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_LABEL_HINT = "lower-case letters, digits, `-`, at most 63"
_PORT_NAME_HINT = "lower-case letters, digits, `-`, at most 15"

Item = tuple[Path, Mapping[str, Any]]


def problems(body: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Of the pods that an object makes, or of a Service's ports."""
    kind = body["apiVersion"].rpartition("/")[0], body["kind"]
    if kind == ("", "Service"):
        return tuple(_service(body))
    if kind != ("", "Pod") and kind not in TEMPLATES:
        return ()
    where = ("spec",) if kind == ("", "Pod") else (*TEMPLATES[kind], "spec")
    spec = mapping(body, where)
    return (*_restart(kind[1], spec, where), *_containers(body, spec, where))


def _restart(kind: str, spec: Mapping[str, Any], where: Path) -> Iterator[Problem]:
    policy = spec.get("restartPolicy") or "Always"
    if kind in _ALWAYS and policy != "Always":
        yield Problem((*where, "restartPolicy"), f"must be Always in a {kind}")
    if kind in {"Job", "CronJob"} and policy == "Always":
        yield Problem((*where, "restartPolicy"), f"must be OnFailure or Never in a {kind}")


def _containers(body: Mapping[str, Any], spec: Mapping[str, Any], where: Path) -> Iterator[Problem]:
    volumes = {str(each.get("name")) for _, each in _items(spec, ("volumes",))}
    claims = _items(mapping(body, ("spec",)), ("volumeClaimTemplates",))
    volumes |= {str(mapping(each, ("metadata",)).get("name")) for _, each in claims}
    for field in _CONTAINERS:
        for at, container in _items(spec, (field,)):
            for problem in _container(container, volumes):
                yield Problem((*where, *at, *problem.where), problem.message, problem.hint)


def _container(container: Mapping[str, Any], volumes: Iterable[object]) -> Iterator[Problem]:
    yield from _name(container, (), _LABEL, _LABEL_HINT)
    if container.get("imagePullPolicy") not in (None, *_PULL_POLICIES):
        yield Problem(("imagePullPolicy",), f"must be one of {', '.join(_PULL_POLICIES)}")
    for at, port in _items(container, ("ports",)):
        yield from _name(port, at, _PORT_NAME, _PORT_NAME_HINT)
        yield from _number(port, at, "containerPort")
    for at, variable in _items(container, ("env",)):
        if (name := variable.get("name")) == "" or (isinstance(name, str) and "=" in name):
            yield Problem((*at, "name"), "is no name for a variable")
    for at, mount in _items(container, ("volumeMounts",)):
        if isinstance(name := mount.get("name"), str) and name not in volumes:
            yield Problem((*at, "name"), "the pod has no volume of this name")
    for field in ("requests", "limits"):
        for key, amount in mapping(container, ("resources", field)).items():
            if isinstance(amount, str) and not _QUANTITY.fullmatch(amount):
                yield Problem(("resources", field, key), "is no quantity", "such as 500m, 64Mi or 1.5")


def _service(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = mapping(body, ("spec",))
    ports = list(_items(spec, ("ports",)))
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield Problem(("spec", "ports"), "must be given")
    for at, port in ports:
        where: Path = ("spec", *at)
        yield from _name(port, where, _LABEL, _LABEL_HINT)
        yield from _number(port, where, "port")
        if len(ports) > 1 and not port.get("name"):
            yield Problem((*where, "name"), "must be given where there are several ports")


def _items(value: Mapping[str, Any], where: tuple[str, ...]) -> Iterator[Item]:
    """The mappings of a list, each with its place; the schema tells of anything else."""
    found = value.get(where[-1])
    for index, item in enumerate(found if isinstance(found, list) else ()):
        if isinstance(item, Mapping):
            yield (*where, index), item


def _name(item: Mapping[str, Any], where: Path, form: re.Pattern[str], hint: str) -> Iterator[Problem]:
    name = item.get("name")
    if isinstance(name, str) and name and not form.fullmatch(name):
        yield Problem((*where, "name"), "is no name here", hint)


def _number(item: Mapping[str, Any], where: Path, field: str) -> Iterator[Problem]:
    number = item.get(field)
    if isinstance(number, int) and not isinstance(number, bool) and not 1 <= number <= _MOST_PORT:
        yield Problem((*where, field), f"must be between 1 and {_MOST_PORT}")
