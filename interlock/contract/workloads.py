"""Where the built-in kinds that make pods describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def pod_spec(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The specification of an object's pods; empty for a kind that makes none, or that we do not know."""
    kind = str(body.get("apiVersion", "")).rpartition("/")[0], str(body.get("kind", ""))
    if kind == ("", "Pod"):
        return mapping(body, ("spec",))
    template = TEMPLATES.get(kind)
    return mapping(body, (*template, "spec")) if template else {}
