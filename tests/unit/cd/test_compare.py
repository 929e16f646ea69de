"""Comparison by the server's own list keys, and what lives without a reason."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd import compare, foreign
from interlock.cd.objects import MISSING, ItemKey, Path, spell
from interlock.contract.render import Identity
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
    """One changed image is one difference, wherever its container stands; that it stands elsewhere is another one."""
    before = _deployment([{"name": "a", "image": "1"}, {"name": "web", "image": "1"}])
    after = _deployment([{"name": "web", "image": "2"}, {"name": "a", "image": "1"}])
    image, order = compare.differences(before, after)
    assert (spell(image.path), image.before, image.after) == ("spec.template.spec.containers[name=web].image", "1", "2")
    assert (spell(order.path), order.after) == ("spec.template.spec.containers", [{"name": "web"}, {"name": "a"}])


def _in_order(*names: str) -> dict[str, Any]:
    body = _deployment([{"name": name} for name in names])
    named: dict[str, Any] = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}} for name in sorted(names)}
    owned = {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:template": {"f:spec": {"f:containers": named}}}}
    claims = [{**claim(MANAGER, owned), "apiVersion": "apps/v1"}]
    body["metadata"] = {"name": "w", "labels": {"a": "b"}, "managedFields": claims}
    return body


def test_items_in_another_order_are_not_settled() -> None:
    """Init containers run in their order, and a variable may be made of those before it: only an apply moves them."""
    desired = _in_order("migrate", "seed")
    del desired["metadata"]["managedFields"]
    assert compare.settled(desired, _in_order("migrate", "seed"), MANAGER)
    assert not compare.settled(desired, _in_order("seed", "migrate"), MANAGER)
    assert compare.changed_values(desired, _in_order("migrate", "seed"), MANAGER) == ()
    assert compare.changed_values(desired, _in_order("seed", "migrate"), MANAGER) is None


@pytest.mark.parametrize(
    "name", ["f:x", "k:", "k:[1]", "k:nonsense", "v:nonsense", "v:" + "[" * 9000 + "]" * 9000, "i:0"]
)
def test_a_forged_claim_is_no_claim(name: str) -> None:
    """Whoever may write an object may write any name into our claims on it: it settles nothing, and breaks nothing."""
    desired, live = _in_order("web"), _in_order("web")
    del desired["metadata"]["managedFields"]
    assert compare.settled(desired, live, MANAGER)
    path: Path = ("spec", "template", "spec", "containers", WEB)
    for entry in live["metadata"]["managedFields"]:
        entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"] = {name: {}}
    assert not compare.settled(desired, live, MANAGER)
    assert compare.changed_values(desired, live, MANAGER) is None
    assert compare.held(live, path, manager=MANAGER) is None
    assert compare.claimant(live, path, manager="somebody") is None


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


def _live(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": spec}


def test_a_removal_holds_for_one_version_of_one_object() -> None:
    """It tests UID and resourceVersion first, names items by their place, and takes the last of a list first."""
    live = _live({"containers": [{"name": "web"}, {"name": "a"}, {"name": "b"}], "args": ["x", "y"], "a/b~": 1})
    things = [
        foreign.Unexplained(("spec", "containers", ItemKey((("name", "a"),))), {"name": "a"}),
        foreign.Unexplained(("spec", "containers", ItemKey((("name", "b"),))), {"name": "b"}),
        foreign.Unexplained(("spec", "args", 1), "y"),
        foreign.Unexplained(("spec", "a/b~"), 1, default=2),
    ]

    test_uid, test_version, *rest = foreign.removal_patch(live, things)

    assert test_uid == {"op": "test", "path": "/metadata/uid", "value": "u"}
    assert test_version == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert [each["path"] for each in rest if "containers" in each["path"]] == [
        "/spec/containers/2",
        "/spec/containers/1",
    ]
    assert {"op": "remove", "path": "/spec/args/1"} in rest
    assert {"op": "replace", "path": "/spec/a~1b~0", "value": 2} in rest


def test_what_was_changed_since_is_not_removed() -> None:
    """Another value is another decision; without anything left there is no patch at all."""
    thing = foreign.Unexplained(("spec", "x"), 1)
    assert foreign.removal_patch(_live({"x": 2}), [thing]) == ()
    assert foreign.removal_patch(_live({}), [thing]) == ()


@pytest.mark.parametrize("field", ["finalizers", "ownerReferences"])
def test_what_decides_about_deletion_is_never_removed(field: str) -> None:
    """Neither the whole of it nor an item."""
    assert not foreign.removable(foreign.Unexplained(("metadata", field), ["x"]))
    assert not foreign.removable(foreign.Unexplained(("metadata", field, 0), "x"))
    assert foreign.removable(foreign.Unexplained(("metadata", "labels", field), "x"))


@pytest.mark.parametrize("spec", [None, [], {}, {"scaleTargetRef": []}, {"scaleTargetRef": {"kind": {}, "name": []}}])
def test_a_malformed_autoscaler_scales_nothing(spec: object) -> None:
    """It is the server that refuses it, with its line in Git; nothing breaks before."""
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": spec}
    assert Identity("apps", "Deployment", "", "web") not in foreign.scaled([body])


def test_an_autoscaler_explains_the_replicas_of_its_target() -> None:
    """Of HorizontalPodAutoscalers and KEDA's ScaledObjects, for which a Deployment is the default."""
    metadata = {"name": "s", "namespace": "shop"}
    hpa = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}}
    bodies = [
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": hpa},
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": metadata,
            "spec": {"scaleTargetRef": {"name": "web"}},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata},
    ]
    assert foreign.scaled(bodies) == {
        Identity("apps", "StatefulSet", "shop", "db"),
        Identity("apps", "Deployment", "shop", "web"),
    }
    desired, live = _deployment([]), _deployment([], replicas=3, paused=True)
    assert [spell(each.path) for each in foreign.unexplained(desired, live, scaled=True)] == ["spec.paused"]
    assert len(foreign.unexplained(desired, live)) == 2


def _widget(parts: list[Any], **spec: object) -> dict[str, Any]:
    return {"apiVersion": "x.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"parts": parts, **spec}}


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        ([{"id": "a"}, {"id": "b"}], [{"id": "a", "evil": 1}, {"id": "b"}], [("spec.parts[0].evil", 1)]),
        (
            [{"id": "a"}],
            [{"id": "z"}, {"id": "a", "set": 1}],
            [("spec.parts[0]", {"id": "z"}), ("spec.parts[1].set", 1)],
        ),
        (["b"], ["a", "b"], [("spec.parts[0]", "a")]),
        ([{"id": "a"}], [{"id": "b"}], []),
    ],
)
def test_lists_whose_keys_we_do_not_know(desired: list[Any], live: list[Any], expected: list[tuple[str, Any]]) -> None:
    """Items go together by what they hold; a desired item that is changed is for the comparison."""
    found = foreign.unexplained(_widget(desired), _widget(live))
    assert [(spell(item.path), item.value) for item in found] == expected


def test_a_default_in_a_list_is_looked_for_where_git_has_the_item() -> None:
    """An item that somebody put in front moves the others; it has no default, and theirs is not its."""
    found = foreign.unexplained(_widget([{"id": "a"}]), _widget([{"id": "z"}, {"id": "a", "set": 1}]))
    left = foreign.against_defaults(found, _widget([{"id": "a", "set": 1}]))
    assert [(spell(item.path), item.default) for item in left] == [("spec.parts[0]", MISSING)]


def test_a_null_declares_nothing() -> None:
    """What lives there is accounted for as if Git did not name it."""
    desired, live = _deployment([], nodeSelector=None), _deployment([], nodeSelector={"disk": "theirs"})
    assert [spell(item.path) for item in foreign.unexplained(desired, live)] == ["spec.nodeSelector"]


def test_a_custom_kind_has_no_defaults_of_a_common_one() -> None:
    """`Service` of another group is another kind."""
    body: dict[str, Any] = {"kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    live = {**body, "spec": {"clusterIP": "10.0.0.1"}}
    assert foreign.unexplained({"apiVersion": "v1", **body}, {"apiVersion": "v1", **live}) == ()
    other = "serving.example/v1"
    assert len(foreign.unexplained({"apiVersion": other, **body}, {"apiVersion": other, **live})) == 1


def test_the_closest_claim_is_the_owners() -> None:
    """A claim on a mapping as such is not one on a key that somebody else claims."""
    ours, theirs = claim(MANAGER, {"f:data": {}}), claim("somebody", {"f:data": {"f:a": {}}}, operation="Update")
    live = {"metadata": {"managedFields": [ours, theirs]}, "data": {"a": "1", "b": "2"}}
    found = compare.claimant(live, ("data", "a"), manager=MANAGER)
    assert found is not None
    assert (found.manager, compare.held(live, ("data", "a"), manager=MANAGER)) == ("somebody", None)
    assert compare.held(live, ("data", "b"), manager=MANAGER) is not None


def test_items_are_claimed_by_value_or_by_their_own_keys() -> None:
    """A set's item, and an item of a list whose keys only the claim knows."""
    fields: dict[str, Any] = {"f:set": {'v:"x"': {}}, "f:list": {'k:{"id":"b"}': {"f:n": {}}}}
    live = {"set": ["w", "x"], "list": [{"id": "a"}, {"id": "b", "n": 1}]}
    assert compare.closeness(fields, ("set", 1), live) == 2
    assert compare.closeness(fields, ("set", 0), live) == 0
    assert compare.closeness(fields, ("list", 1, "n"), live) == 3
    assert compare.closeness(fields, ("list", 0, "n"), live) == 0
