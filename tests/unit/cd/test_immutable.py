"""What an object keeps for life, and what may be made anew for it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.immutable import RECREATED, hindrance, moved, said
from interlock.cd.inventory import Entry
from interlock.cd.objects import NONCE, Body
from interlock.contract.render import Identity


def _object(kind: str, **fields: Any) -> Body:
    metadata = {"name": "x", "namespace": "shop", "annotations": {NONCE: "n1"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def _moved(group: str, kind: str, desired: Any, live: Any) -> list[tuple[object, ...]]:
    return [*moved(Identity(group, kind, "shop", "x"), _object(kind, **desired), _object(kind, **live))]


@pytest.mark.parametrize(
    ("group", "kind", "desired", "live"),
    [
        ("apps", "Deployment", {"spec": {"replicas": 3}}, {"spec": {"replicas": 1}}),
        # The server's defaults and what others added are no change of what Git declares.
        ("", "Service", {"spec": {"type": "ClusterIP"}}, {"spec": {"clusterIP": "10.0.0.1"}}),
        (
            "apps",
            "Deployment",
            {"spec": {"selector": {"matchLabels": {"a": "1"}}}},
            {"spec": {"selector": {"matchLabels": {"a": "1", "b": "2"}}}},
        ),
        ("", "PersistentVolumeClaim", {"spec": {"storageClassName": "fast"}}, {"spec": {}}),
        ("", "ConfigMap", {"data": {"a": "2"}}, {"data": {"a": "1"}}),
        ("", "Secret", {"stringData": {"a": "1"}}, {"immutable": True, "data": {"a": "MQ=="}}),
        ("", "Secret", {"data": {"a": "MQ=="}}, {"immutable": True, "data": {"a": "MQ=="}, "type": "Opaque"}),
        ("", "Service", {"spec": {"type": "ExternalName", "clusterIP": ""}}, {"spec": {"clusterIP": "10.0.0.1"}}),
        # What is no object of its kind the server will say.
        ("", "Service", {"spec": ["x"]}, {"spec": {"clusterIP": "10.0.0.1"}}),
        ("", "ConfigMap", {"data": ["x"]}, {"immutable": True, "data": {"a": "1"}}),
        # Another group's kind of the same name.
        ("example.org", "RoleBinding", {"roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}}),
    ],
)
def test_what_is_not_sure_is_left_to_the_server(group: str, kind: str, desired: Body, live: Body) -> None:
    """The table says only what no server would answer otherwise."""
    assert _moved(group, kind, desired, live) == []


def test_the_content_of_an_immutable_map_is_for_life() -> None:
    """Each key that is another or new, in both spellings of a Secret."""
    live = {"immutable": True, "data": {"a": "MQ==", "b": "Mg=="}}
    desired = {"stringData": {"a": "2", "c": "3"}, "data": {"b": "Mg=="}}
    assert _moved("", "Secret", desired, live) == [("data", "a"), ("data", "c")]


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        ("spec.selector: Invalid value: {}: field is immutable", True),
        ("cannot change roleRef", True),
        ("spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden", True),
        ("spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535", False),
        ('admission webhook "x" denied the request: field is immutable', False),
        ("ValidatingAdmissionPolicy 'x' with binding 'y' denied request: the image may not be changed", False),
    ],
)
def test_a_policys_refusal_is_its_own(message: str, is_one: bool) -> None:
    """What a webhook or policy denies, another object would not be allowed either."""
    assert said(message) is is_one


def _hindrance(live: Body, *, group: str = "", policy: tuple[str, ...] = tuple(RECREATED), nonce: str = "n1") -> str:
    identity = Identity(group, live["kind"], "shop", "x")
    return hindrance(identity, live, Entry(identity, "shop", nonce, "u1"), policy)


def test_nothing_is_recreated_that_could_lose_something() -> None:
    """By kind, policy, origin, finalizers, and what the object is about."""
    assert _hindrance(_object("ConfigMap")) == ""
    assert "recreate: [ConfigMap]" in _hindrance(_object("ConfigMap"), policy=())
    for kind in ("StatefulSet", "Deployment", "PersistentVolumeClaim", "Namespace", "CustomResourceDefinition"):
        assert "by hand" in _hindrance(_object(kind), group="apps", policy=(*RECREATED, kind))
    assert "not made by the environment" in _hindrance(_object("ConfigMap"), nonce="n2")
    adopted = Entry(Identity("", "ConfigMap", "shop", "x"), "shop", "n1", "u1", adopted=True)
    assert "not made by the environment" in hindrance(adopted.identity, _object("ConfigMap"), adopted, tuple(RECREATED))
    held = _object("ConfigMap")
    held["metadata"]["finalizers"] = ["example.org/hold"]
    assert "example.org/hold" in _hindrance(held)
    assert "outside of the cluster" in _hindrance(_object("Service", spec={"type": "LoadBalancer"}))
    assert "token" in _hindrance(_object("Secret", type="kubernetes.io/service-account-token"))
    running = _object("Job", spec={}, status={"active": 1})
    assert "while it runs" in _hindrance(running, group="batch")
    ended = _object("Job", spec={}, status={"conditions": [{"type": "Failed", "status": "True"}]})
    assert _hindrance(ended, group="batch") == ""
