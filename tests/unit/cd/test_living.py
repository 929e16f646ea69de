"""A LIST's objects, named at once and decoded when somebody asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.cd.living import Living, Objects, living, page
from interlock.cd.objects import Resource
from interlock.contract.render import Identity
from interlock.errors import ClusterError

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)
A = Identity("", "ConfigMap", "shop", "a")


def _item(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", "resourceVersion": "7"}, **more}


def _page(*items: Any, **metadata: str) -> bytes:
    return json.dumps({"kind": "List", "metadata": {"resourceVersion": "9", **metadata}, "items": items}).encode()


def test_a_page_names_its_objects_and_gives_their_whole_bodies() -> None:
    """With the kind that items of a list do not say themselves, whatever they do say."""
    found = page(_page(_item(data={"ü": "\u2028"}), _item("b", kind="Other"), **{"continue": "more"}), CONFIG_MAPS)
    first, second = found.items
    assert (found.metadata.version, found.metadata.more) == ("9", "more")
    assert (first.name, first.uid, first.version, first.known) == ("a", "u-a", "7", None)
    named = {"apiVersion": "v1", "kind": "ConfigMap"}
    assert first.body == {**_item(data={"ü": "\u2028"}), **named}
    assert second.body == {**_item("b"), **named}
    assert first.body is first.body


@pytest.mark.parametrize("items", [b"null", b"[]"])
def test_a_page_may_be_empty(items: bytes) -> None:
    """A list of metadata that is empty is null."""
    found = page(b'{"metadata":{"resourceVersion":"9"},"items":' + items + b"}", CONFIG_MAPS)
    assert (found.items, found.metadata.more) == ([], "")


def test_an_object_that_is_nested_too_deeply_hides_no_other() -> None:
    """Whoever may write one object may forge its claims to any depth; all of the page are named and read as ever."""
    deep = b'{"metadata":{"name":"deep","uid":"d","managedFields":' + b"[" * 3_000 + b"]" * 3_000 + b"}}"
    data = b'{"metadata":{"resourceVersion":"9"},"items":[' + deep + b"," + json.dumps(_item(data={})).encode() + b"]}"
    found = page(data, CONFIG_MAPS)
    assert [(each.name, each.uid) for each in found.items] == [("deep", "d"), ("a", "u-a")]
    assert [each.body["kind"] for each in found.items] == ["ConfigMap", "ConfigMap"]


def test_what_an_aggregated_server_leaves_out_is_empty() -> None:
    """Its objects may have neither UID nor version; whoever looks for one of those finds none of them."""
    (found,) = page(_page({"metadata": {"name": "a", "uid": None}}), CONFIG_MAPS).items
    assert found.body["metadata"]["name"] == "a"
    (found,) = page(_page({"metadata": {"name": "a"}}), CONFIG_MAPS).items
    assert (found.uid, found.version) == ("", "")


@pytest.mark.parametrize("size", [1, 60, 120])
def test_half_a_page_is_none(size: int) -> None:
    """Not even its first objects."""
    data = _page(_item(), _item("b"))
    with pytest.raises(ValueError, match=r"."):
        page(data[:size], CONFIG_MAPS)


def test_a_body_that_is_not_json_is_an_error_of_its_own() -> None:
    """It never reads as an empty object."""
    (found,) = page(_page(_item()), CONFIG_MAPS).items
    broken = Living(found.name, found.uid, found.version, "v1", "ConfigMap", type(found.data)(b'{"a":\xff}'))
    with pytest.raises(ClusterError, match="ConfigMap/a: the answer was not JSON"):
        _ = broken.body


def test_objects_are_a_mapping_of_bodies() -> None:
    """Those that are asked for are decoded, and no others."""
    items = {
        Identity("", "ConfigMap", "shop", each.name): each
        for each in page(_page(_item(), _item("b")), CONFIG_MAPS).items
    }
    objects = Objects(items)
    assert A in objects
    assert (len(objects), objects.get(Identity("", "Secret", "shop", "a"))) == (2, None)
    assert objects[A]["metadata"]["uid"] == "u-a"
    assert [each.known is None for each in items.values()] == [False, True]
    left = objects.without({A})
    assert ([*left], left.get(A), left.living(A)) == ([Identity("", "ConfigMap", "shop", "b")], None, None)


def test_a_body_that_is_known_is_living_too() -> None:
    """A plan asks for some objects by name."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", **_item()}
    found = living(body)
    assert (found.name, found.uid, found.version, found.body) == ("a", "u-a", "7", body)
    assert Objects.of({A: body})[A] is body
