"""Names, labels and data keys that the API server refuses are found without it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract import metadata

LONG = "a" * 64


def told(api_version: str, kind: str, **more: Any) -> list[str]:
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}, **more}
    return [str(problem) for problem in metadata.problems(body)]


def workload(selected: dict[str, str], labels: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"selector": {"matchLabels": selected}, "template": {"metadata": {"labels": labels}}}}


@pytest.mark.parametrize(
    ("api_version", "kind", "name"),
    [
        ("v1", "ConfigMap", "a.b-c"),
        ("v1", "ConfigMap", "a" * 253),
        ("rbac.authorization.k8s.io/v1", "Role", "system:Reader"),
        ("example.org/v1", "Widget", "w.1"),
        ("batch/v1", "CronJob", "a" * 52),
    ],
)
def test_names_that_the_server_takes(api_version: str, kind: str, name: str) -> None:
    """Each kind has its own form of names."""
    assert told(api_version, kind, metadata={"name": name}) == []


@pytest.mark.parametrize(
    ("api_version", "kind", "name", "message"),
    [
        ("v1", "ConfigMap", "Web", "is no name for a ConfigMap"),
        ("v1", "ConfigMap", "a_b", "is no name for a ConfigMap"),
        ("v1", "ConfigMap", "a..b", "is no name for a ConfigMap"),
        ("v1", "ConfigMap", "a" * 254, "has 254 characters, and a ConfigMap's name at most 253"),
        ("v1", "Service", "a.b", "is no name for a Service"),
        ("v1", "Service", LONG, "has 64 characters, and a Service's name at most 63"),
        ("batch/v1", "CronJob", "a" * 53, "has 53 characters, and a CronJob's name at most 52"),
    ],
)
def test_names_that_the_server_refuses(api_version: str, kind: str, name: str, message: str) -> None:
    """Wrong characters and too many of them."""
    (found,) = told(api_version, kind, metadata={"name": name})
    assert found.startswith(f"metadata.name: {message}")


@pytest.mark.parametrize("value", ["", "a", "A.b_c-d", "a" * 63])
def test_labels_that_the_server_takes(value: str) -> None:
    """Empty ones too."""
    labels = {"name": value, "example.org/name": value}
    assert told("v1", "ConfigMap", metadata={"name": "web", "labels": labels}) == []


@pytest.mark.parametrize("value", ["a b", "-a", "a-", "ä", LONG, "a/b", "a\n"])
def test_labels_that_the_server_refuses(value: str) -> None:
    """In the object, and in the pods that a workload makes; without showing the value."""
    (found,) = told("v1", "ConfigMap", metadata={"name": "web", "labels": {"a": value}})
    assert found.startswith("metadata.labels.a: is no label's value")
    found, *_ = told("apps/v1", "Deployment", **workload({"a": value}, {"a": value}))
    assert found.startswith("spec.template.metadata.labels.a: is no label's value")


@pytest.mark.parametrize("key", ["", "a b", "/a", "a/", "a/b/c", "A_b.org/c", LONG])
def test_keys_that_the_server_refuses(key: str) -> None:
    """A label's and an annotation's key have the same form."""
    for field in ("labels", "annotations"):
        (found,) = told("v1", "ConfigMap", metadata={"name": "web", field: {key: "x"}})
        assert f"is no name for one of {field}" in found


def test_too_many_annotations() -> None:
    """256 KiB in all is the most."""
    (found,) = told("v1", "ConfigMap", metadata={"name": "web", "annotations": {"a": "x" * (256 << 10)}})
    assert "at most 262144 are taken" in found


def test_a_workload_selects_its_own_pods() -> None:
    """A selector that the template's labels do not meet is refused by the server, whatever it is."""
    assert told("apps/v1", "Deployment", **workload({"a": "b"}, {"a": "b", "c": "d"})) == []
    (found,) = told("apps/v1", "Deployment", **workload({"a": "b"}, {"a": "c"}))
    assert found.startswith("spec.selector.matchLabels.a: the pods of spec.template do not carry this label")


def test_data_has_keys_and_base64() -> None:
    """Plain text in a Secret's data is told with what to do, and never shown."""
    assert told("v1", "ConfigMap", data={"a.b": "plain"}) == []
    assert told("v1", "Secret", data={"a": "aGk="}, stringData={"b": "plain"}) == []
    assert told("v1", "Secret", data={"a": "plain!"}) == ["data.a: is not base64 (write plain text into stringData)"]
    (found,) = told("v1", "ConfigMap", data={"a/b": "x"})
    assert found.startswith("data.a/b: is no key for data")


def test_odd_shapes_are_left_to_the_schema() -> None:
    """What is no mapping where one must be raises nothing here."""
    for odd in (None, 1, "x", [1], {"metadata": 1}):
        assert told("apps/v1", "Deployment", spec=odd) == []
        assert told("v1", "Secret", data=odd if not isinstance(odd, dict) else None) == []
