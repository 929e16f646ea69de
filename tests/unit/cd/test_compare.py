"""Comparison by the server's own list keys, and what lives without a reason."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd import compare, foreign
from interlock.cd.objects import ItemKey, Path, spell
from tests.unit.cd.bodies import MANAGER, claim

WEB = ItemKey((("name", "web"),))
PORT = ItemKey((("containerPort", 80), ("protocol", "TCP")))


def _deployment(containers: list[dict[str, Any]], **spec: object) -> dict[str, Any]:
    template = {"spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w"},
        "spec": {"template": template, **spec},
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "containers", WEB, "image"), "spec.containers[name=web].image"),
        (("metadata", "labels", "a.b/c"), 'metadata.labels["a.b/c"]'),
        (("spec", "ports", PORT), "spec.ports[containerPort=80,protocol=TCP]"),
        (("spec", "args", 2), "spec.args[2]"),
    ],
)
def test_paths_are_spelled_for_people(path: Path, text: str) -> None:
    """Keyed items by their keys, keys with dots in quotes."""
    assert spell(path) == text


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        ({"f:spec": {"f:replicas": {}}}, ("spec", "replicas"), True),
        ({"f:spec": {"f:replicas": {}}}, ("spec", "paused"), False),
        ({"f:spec": {"f:tolerations": {}}}, ("spec", "tolerations", 0), True),
        ({"f:c": {'k:{"name":"web"}': {"f:image": {}}}}, ("c", WEB, "image"), True),
        ({"f:c": {'k:{"name":"web"}': {"f:image": {}}}}, ("c", ItemKey((("name", "x"),))), False),
    ],
)
def test_claims_are_read_by_path(fields: dict[str, Any], path: Path, expected: bool) -> None:
    """An atomic list is claimed as a whole, a keyed one item by item."""
    assert compare.claimed(fields, path) is expected


def test_a_defaulted_key_is_found() -> None:
    """A port without protocol is the item that the server keys with TCP: equal without a request."""
    desired = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"ports": [{"containerPort": 80}]}}
    owned: dict[str, Any] = {
        "f:spec": {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}}
    }
    live: dict[str, Any] = {**desired, "spec": {"ports": [{"containerPort": 80, "protocol": "TCP"}]}}
    live["metadata"] = {"name": "p", "managedFields": [claim(MANAGER, owned)]}
    assert compare.settled({**desired, "metadata": {"name": "p"}}, live, MANAGER) is False  # metadata is not claimed
    live["metadata"]["managedFields"] = [claim(MANAGER, {**owned, "f:metadata": {"f:labels": {"f:a": {}}}})]
    live["metadata"]["labels"] = {"a": "b"}
    desired["metadata"] = {"name": "p", "labels": {"a": "b"}}
    assert compare.settled(desired, live, MANAGER) is True


def test_true_is_not_one() -> None:
    """JSON's types are told apart."""
    live = {"apiVersion": "v1", "kind": "X", "metadata": {}, "data": {"a": 1}}
    assert compare.differences(live, {**live, "data": {"a": True}}) != ()


def test_differences_are_told_by_item_and_not_by_order() -> None:
    """Containers in another order are the same; one changed image is one difference."""
    before = _deployment([{"name": "a", "image": "1"}, {"name": "web", "image": "1"}])
    after = _deployment([{"name": "web", "image": "2"}, {"name": "a", "image": "1"}])
    (found,) = compare.differences(before, after)
    assert (spell(found.path), found.before, found.after) == ("spec.template.spec.containers[name=web].image", "1", "2")


def test_an_injected_container_is_one_thing() -> None:
    """However many fields it has; the desired container's defaults are explained by the table."""
    desired = _deployment([{"name": "web", "image": "i"}])
    live = _deployment(
        [
            {"name": "web", "image": "i", "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File"},
            {"name": "miner", "image": "evil", "imagePullPolicy": "IfNotPresent", "command": ["mine"]},
        ],
        replicas=1,
        progressDeadlineSeconds=600,
    )
    (found,) = foreign.unexplained(desired, live)
    assert spell(found.path) == "spec.template.spec.containers[name=miner]"


def test_a_default_with_another_value_is_foreign() -> None:
    """A known field with an unknown value is not explained by its name."""
    desired = _deployment([{"name": "web"}])
    (found,) = foreign.unexplained(desired, _deployment([{"name": "web"}], revisionHistoryLimit=0))
    assert (spell(found.path), found.value) == ("spec.revisionHistoryLimit", 0)


def test_a_list_is_not_explained_by_its_shape() -> None:
    """An empty mapping or list may mean something, such as `allow from everywhere`: it needs a table's word."""
    desired = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {},
        "spec": {"podSelector": {}},
    }
    live = {**desired, "spec": {"podSelector": {}, "ingress": [{}]}}
    assert [spell(item.path) for item in foreign.unexplained(desired, live)] == ["spec.ingress"]


def test_the_servers_defaults_explain_what_they_say_and_no_more() -> None:
    """Of a mapping that the server fills in partly, only the rest is foreign, with the default beside it."""
    found = (foreign.Unexplained(("spec", "x"), {"a": 1, "b": 2, "c": 3}),)
    left = foreign.against_defaults(found, {"spec": {"x": {"a": 1, "b": 5}}})
    assert [(spell(item.path), item.value) for item in left] == [("spec.x.b", 2), ("spec.x.c", 3)]
    assert left[0].default == 5


def test_a_pinned_address_is_not_asked_for_twice() -> None:
    """The throw-away copy leaves out what only one object can have."""
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": "10.0.0.1", "x": 1}}
    assert foreign.probe_body(body, "tmp") == {**body, "metadata": {"name": "tmp"}, "spec": {"x": 1}}
