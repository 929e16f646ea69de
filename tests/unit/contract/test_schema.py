"""Manifests against schemas: what the API server would refuse is told with its field, what it takes passes."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract.schema import Schemas, of_definitions
from tasks.common.kubernetes_schemas import minors, schemas

CONTAINER = {
    "name": "web",
    "image": "r.example/web@sha256:" + "1" * 64,
    "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
    "env": [{"name": "A", "value": "1"}],
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}},
    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
}


def deployment(**container: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{**CONTAINER, **container}], "volumes": None}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def told(body: dict[str, Any], known: Schemas | None = None) -> list[str]:
    schema = (known or schemas("")).find(body["apiVersion"], body["kind"])
    assert schema is not None
    return [str(problem) for problem in schema.problems(body)]


@pytest.mark.parametrize("minor", minors())
def test_a_usual_deployment_fits_every_minor(minor: str) -> None:
    """Numbers as quantities, names as ports, null for what is left out, one port under two protocols."""
    assert told(deployment(), schemas(minor)) == []


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"imagee": "x"}, ".imagee: unknown field (did you mean image?)"),
        ({"ReadinessProbe": {}}, ".ReadinessProbe: unknown field (did you mean readinessProbe?)"),
        ({"qqq": 1}, ".qqq: unknown field"),
        ({"command": "sleep"}, ".command: must be a list, not text"),
        ({"ports": [{"containerPort": "80"}]}, ".ports[0].containerPort: must be a whole number, not text"),
        ({"ports": [{"name": "http"}]}, ".ports[0].containerPort: must be given"),
        ({"env": [{"name": "A", "value": 1}]}, ".env[0].value: must be text, not a number"),
        ({"env": [{"name": "A"}, {"name": "A"}]}, ".env: two items have the same name: A"),
        ({"resources": {"limits": {"cpu": True}}}, ".cpu: must be text or a number, not true or false"),
    ],
)
def test_what_does_not_fit_is_told_with_its_field(container: dict[str, Any], message: str) -> None:
    """One line a problem: the field, what it must be, and the name that was meant."""
    # In older versions the schema does not say that variables are told apart by name.
    (found,) = told(deployment(**container))
    assert found.startswith("spec.template.spec.containers[0]")
    assert found.endswith(message)


def test_no_value_is_told() -> None:
    """A problem names a field and never what stands in it, which may be secret."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": {"hunter2": 1}}}
    assert told(secret) == ["stringData.a: must be text, not a mapping"]


def test_a_kind_without_schema_has_none() -> None:
    """An unknown kind is not taken for a fitting one."""
    assert schemas("").find("example.org/v1", "Widget") is None


WIDGET: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9, "exclusiveMaximum": True},
                "mode": {"type": "string", "enum": ["fast", "slow"]},
                "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}},
                "maybe": {"type": "string", "nullable": True},
                "free": {"type": "object", "additionalProperties": {"type": "string"}},
                "made": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object"}},
                },
                "rules": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["a"],
                },
                "code": {"type": "string", "pattern": "^[a-z]+$"},
            },
            "anyOf": [{"required": ["mode"]}, {"properties": {"size": {"minimum": 1}}}],
        }
    },
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "example.org",
        "names": {"kind": "Widget"},
        "versions": [{"name": "v1", "schema": {"openAPIV3Schema": WIDGET}}],
    },
}


def widget(**spec: Any) -> list[str]:
    schema = of_definitions([DEFINITION])["example.org/v1", "Widget"]
    body = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1, **spec}}
    return [str(problem) for problem in schema.problems(body)]


@pytest.mark.parametrize(
    "spec",
    [
        {"size": 8},
        {"mode": "fast"},
        {"mode": None, "maybe": None},
        {"port": 80},
        {"port": "http"},
        {"extra": {"a": 1, "b": {"c": 2}}},
        {"free": {"x": "y"}},
        {"made": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "spec": {}}},
        {"rules": [{"a": "1"}, {"a": "2"}]},
        {"code": "abc"},
    ],
)
def test_a_definition_in_the_commit_is_the_schema_of_its_kind(spec: dict[str, Any]) -> None:
    """What OpenAPI and Kubernetes' extensions of it allow is allowed."""
    assert widget(**spec) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": 9}, "spec.size: does not keep to `exclusiveMaximum` of its schema"),
        ({"size": 0}, "spec.size: does not keep to `minimum` of its schema"),
        ({"mode": "hot"}, "spec.mode: must be one of fast, slow"),
        ({"port": True}, "spec.port: must be text or a whole number, not true or false"),
        ({"moode": "fast"}, "spec.moode: unknown field (did you mean mode?)"),
        ({"free": {"x": 1}}, "spec.free.x: must be text, not a number"),
        ({"made": {"kind": "x", "sepc": 1}}, "spec.made.sepc: unknown field (did you mean spec?)"),
        ({"rules": [{"a": "1"}, {"a": "1"}]}, "spec.rules: two items have the same a: 1"),
        ({"code": "A"}, "spec.code: must be of the form ^[a-z]+$"),
    ],
)
def test_a_definition_in_the_commit_refuses_what_it_does_not_describe(spec: dict[str, Any], message: str) -> None:
    """Unknown fields are errors there too."""
    assert message in widget(**spec)


def test_a_broken_definition_gives_no_schema() -> None:
    """Its kinds are unknown then; a pattern that takes exponential time elsewhere is harmless or unusable."""
    for schema in (None, {"type": "object", "properties": {"a": {"pattern": "(?=x)("}}}, {"type": "nonsense"}):
        spec = {**DEFINITION["spec"], "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}
        assert of_definitions([{**DEFINITION, "spec": spec}]) == {}
    assert of_definitions([{"kind": "CustomResourceDefinition", "spec": 1}]) == {}


def test_openapi_of_a_server_is_closed() -> None:
    """References, defaults and descriptions of `/openapi/v3` are understood, and unknown fields are errors."""
    meta = {"type": "object", "properties": {"name": {"type": "string"}}}
    quantity = {"oneOf": [{"type": "string"}, {"type": "number"}]}
    reference = "#/components/schemas/"
    thing = {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": f"{reference}Meta"}], "default": {}, "description": "…"},
            "size": {"$ref": f"{reference}Quantity"},
        },
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
    }
    known = Schemas({"Meta": meta, "Quantity": quantity, "Thing": thing}, openapi=True)
    body = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "size": "1Gi"}
    assert told(body, known) == []
    assert told({**body, "size": None}, known) == []
    assert told({**body, "size": []}, known) == ["size: must be text or a number, not a list"]
    assert told({**body, "metadata": {"nam": "a"}}, known) == ["metadata.nam: unknown field (did you mean name?)"]
