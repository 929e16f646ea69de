"""Pods and Services that the API server would refuse whatever their schema says."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract import pods

CONTAINER: dict[str, Any] = {"name": "web", "image": "x"}


def told(kind: str = "Deployment", api_version: str = "apps/v1", *, pod: Any = None, **container: Any) -> list[str]:
    spec = {"containers": [{**CONTAINER, **container}], **(pod or {})}
    template = {"template": {"spec": spec}}
    inside = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template
    body = {"apiVersion": api_version, "kind": kind, "spec": spec if kind == "Pod" else inside}
    return [str(problem).replace("spec.template.spec.", "") for problem in pods.problems(body)]


def service(**spec: Any) -> list[str]:
    return [str(problem) for problem in pods.problems({"apiVersion": "v1", "kind": "Service", "spec": spec})]


@pytest.mark.parametrize(
    "container",
    [
        {"ports": [{"name": "http-2", "containerPort": 65535}]},
        {"env": [{"name": "a.b-C"}]},
        {"resources": {"requests": {"cpu": "1", "memory": "1.5Gi"}, "limits": {"cpu": 2, "memory": "1e3"}}},
        {"resources": {"requests": {"cpu": "100m", "memory": "64M", "ephemeral-storage": "+1Ki"}}},
        {"volumeMounts": [{"name": "data", "mountPath": "/a"}], "pod": {"volumes": [{"name": "data"}]}},
        {"ports": None, "env": "odd", "resources": [], "volumeMounts": {"a": 1}},
        {"pod": {"volumes": [{"name": {}}, {"name": ["a"]}]}},
    ],
)
def test_what_the_server_takes(container: dict[str, Any]) -> None:
    """Usual pods, and shapes that are the schema's to tell of."""
    assert told(**container) == []


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"name": "Web"}, "containers[0].name: is no name here"),
        ({"name": "a" * 64}, "containers[0].name: is no name here"),
        ({"ports": [{"containerPort": 0}]}, "containers[0].ports[0].containerPort: must be between 1 and 65535"),
        ({"ports": [{"containerPort": 99999}]}, "containers[0].ports[0].containerPort: must be between 1 and 65535"),
        ({"ports": [{"name": "a-name-too-long-x"}]}, "containers[0].ports[0].name: is no name here"),
        ({"ports": [{"name": "80"}]}, "containers[0].ports[0].name: is no name here"),
        ({"imagePullPolicy": "Sometimes"}, "containers[0].imagePullPolicy: must be one of Always"),
        ({"env": [{"name": "a=b"}]}, "containers[0].env[0].name: is no name for a variable"),
        ({"resources": {"limits": {"cpu": "1 core"}}}, "containers[0].resources.limits.cpu: is no quantity"),
        ({"resources": {"limits": {"memory": "1GiB"}}}, "containers[0].resources.limits.memory: is no quantity"),
        ({"volumeMounts": [{"name": "data"}]}, "containers[0].volumeMounts[0].name: the pod has no volume"),
        ({"pod": {"restartPolicy": "Never"}}, "restartPolicy: must be Always in a Deployment"),
    ],
)
def test_what_the_server_refuses(container: dict[str, Any], message: str) -> None:
    """Each with its field."""
    (found,) = told(**container)
    assert found.startswith(message)


def test_a_job_says_when_it_is_begun_again() -> None:
    """Without a restartPolicy the server takes Always, and refuses that."""
    for kind in ("Job", "CronJob"):
        assert "must be OnFailure or Never" in told(kind, "batch/v1")[0]
        assert told(kind, "batch/v1", pod={"restartPolicy": "OnFailure"}) == []
    assert told("Pod", "v1", pod={"restartPolicy": "Never"}) == []


def test_a_stateful_set_brings_volumes() -> None:
    """A claim's template is a volume of its pods."""
    spec = {"containers": [{**CONTAINER, "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}
    claims = [{"metadata": {"name": "data"}}]
    body = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {"template": {"spec": spec}, "volumeClaimTemplates": claims},
    }
    assert pods.problems(body) == ()


def test_a_service_has_ports() -> None:
    """Except where it has no address of its own; several are told apart by name."""
    assert service(ports=[{"port": 80}]) == []
    assert service(clusterIP="None") == service(type="ExternalName", externalName="a.example") == []
    assert service() == ["spec.ports: must be given"]
    assert service(ports=[{"port": 0}]) == ["spec.ports[0].port: must be between 1 and 65535"]
    assert service(ports=[{"port": 1, "name": "a"}, {"port": 2}]) == [
        "spec.ports[1].name: must be given where there are several ports"
    ]
