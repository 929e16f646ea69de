"""Changes that are known without the server: it answers the same, and is not asked about each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.cd import compare, predict
from interlock.cd.inventory import Inventory
from interlock.cd.objects import Body, reach
from interlock.cd.plan import Look, Scope, wanted
from interlock.cd.record import part_of
from interlock.contract.manifest import Manifest
from tests.cluster.worlds import IMAGE, World, config_map, deployment

OTHER = IMAGE.replace("1a1a", "2b2b")


def stateful(kind: str) -> Body:
    """A workload with everything that the table names."""
    body = deployment("web")
    pod = body["spec"]["template"]
    pod["metadata"]["annotations"] = {"say": "hello"}
    container = pod["spec"]["containers"][0] | {"command": ["/bin/a"], "args": ["one", "two"]}
    container["resources"]["limits"]["cpu"] = "1"  # as the server writes it: else that differs too
    pod["spec"] |= {"containers": [container], "initContainers": [{**container, "name": "init"}]}
    for field in ("readinessProbe", "ports"):
        del pod["spec"]["initContainers"][0][field]
    body["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    if kind == "StatefulSet":
        body["spec"]["serviceName"] = "web"
    whole: Body = json.loads(json.dumps(body | {"kind": kind}))  # no part of it twice
    return whole


def changed(body: Any, shape: tuple[str, ...]) -> Any:
    """The same with another value at every place of the shape."""
    head, *rest = shape
    if head == "*":
        return [changed(each, tuple(rest)) for each in body]
    keys = list(body) if head == "" else [head]
    return body | {key: changed(body[key], tuple(rest)) if rest else _other(body[key]) for key in keys}


def _other(value: Any) -> Any:
    if isinstance(value, list):
        return [*value, "more"]
    if isinstance(value, int):
        return value + 1
    return OTHER if value == IMAGE else f"{value}-other"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ConfigMap"])
async def test_the_server_answers_as_predicted(world: World, kind: str) -> None:
    """For every place of the table: what is predicted is what a dry run shows, claims included."""
    body = config_map("web", {"a": "1"}) if kind == "ConfigMap" else stateful(kind)
    body["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    world.push_objects("web", body)
    await world.deploy()
    live = world.get(kind, "web", body["apiVersion"])
    assert live is not None
    group = body["apiVersion"].rpartition("/")[0]
    shapes = predict._ANYWHERE | predict.PLAIN[(group, kind)]

    for shape in sorted(shapes):
        desired = changed(body, shape)
        desired = desired | {"metadata": desired["metadata"] | {"namespace": world.namespace}}
        want = wanted(Manifest(desired, "shop", {}), live, world.inventory(), scope(world))
        predicted = predict.predicted(want, scope(world))
        assert predicted is not None, shape
        answer = world.admin.apply(want.body, manager=world.manager, force=True, dry_run=True).body
        assert compare.differences(predicted, answer) == (), shape
        assert not compare.ownership_changes(predicted, answer, world.manager), shape
        assert compare.differences(live, predicted), shape


def scope(world: World) -> Scope:
    return Scope(
        "dev",
        world.environment_id,
        world.head,
        world.control,
        part_of=part_of(world.environment_id, world.control),
        undo=True,
        again=False,
        namespaces=(world.namespace,),
    )


async def test_one_changed_object_of_a_kind_is_tried(world: World, dry_runs: list[str]) -> None:
    """Twenty changed ConfigMaps cost one dry run, and all are changed."""
    names = [f"m{number:02}" for number in range(20)]
    world.push_objects("many", *(config_map(name, {"a": "1"}) for name in names))
    await world.deploy()
    world.push_objects("many", *(config_map(name, {"a": "2"}) for name in names))
    dry_runs.clear()

    outcome = await world.deploy()

    assert outcome.said == "deployed"
    assert set(dry_runs) == {"m00"}
    assert {reach(world.get("ConfigMap", name), ("data", "a")) for name in names} == {"2"}


async def test_what_somebody_else_claims_is_asked_about(world: World, dry_runs: list[str]) -> None:
    """A field that another manager has too, a changed shape, and an object that drifted go to the server."""
    names = ["plain", "first", "shared", "shape"]
    world.push_objects("many", *(config_map(name, {"a": "1"}) for name in names))
    await world.deploy()
    world.merge(world.path("configmaps", "shared"), {"data": {"a": "mine"}})
    world.push_objects(
        "many", *(config_map(name, {"a": "2"} | ({"b": "1"} if name == "shape" else {})) for name in names)
    )
    dry_runs.clear()

    plan = await world.plan()

    assert {item.identity.name for item in plan.writes} == set(names)
    assert {"shared", "shape"} <= set(dry_runs)
    assert len(set(dry_runs) & {"plain", "first"}) == 1


def test_nothing_is_predicted_of_a_stranger_or_of_drift() -> None:
    """Without an entry in the inventory, or when the commit is deployed already, the server is asked."""
    manifest = Manifest(config_map("c", {"a": "2"}), "shop", {})
    live = config_map("c", {"a": "1"})
    live["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    for again in (False, True):
        found = Scope("dev", "d" * 12, "c" * 40, "control", "x", undo=True, again=again, namespaces=())
        unowned = wanted(manifest, live, Inventory({}), found)
        assert predict.all_of([(unowned, Look.ASK)], found) == {}
