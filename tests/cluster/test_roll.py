"""Content that rolls the pods that use it: another object, another template, and the old one goes when all is well."""

from __future__ import annotations

import pytest

from interlock.cd.objects import Body
from interlock.errors import Unhealthy
from tests.cluster.worlds import World, config_map, deployment, secret


def _rolling(body: Body) -> Body:
    return {**body, "metadata": {**body["metadata"], "annotations": {"interlock.dev/roll": "true"}}}


def _user(replicas: int = 0) -> Body:
    body = deployment(replicas=replicas)
    pod = body["spec"]["template"]["spec"]
    pod["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "password"}}]
    return body


def _objects(greeting: str, password: str, replicas: int = 0) -> tuple[Body, ...]:
    return (
        _rolling(config_map("settings", {"greeting": greeting})),
        _rolling(secret("password", {"password": password})),
        _user(replicas),
    )


def _used(world: World) -> tuple[str, str]:
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    sources = live["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    return sources[0]["configMapRef"]["name"], sources[1]["secretRef"]["name"]


def _named(world: World, kind: str, prefix: str) -> set[str]:
    found = world.admin.list(world.admin.resource("v1", kind), world.namespace)
    return {body["metadata"]["name"] for body in found if body["metadata"]["name"].startswith(prefix)}


async def test_another_content_is_another_object_and_the_old_one_is_pruned(world: World) -> None:
    """The template names the new content; after health only that is there; the same content changes nothing."""
    world.push_objects("web", *_objects("hello", "hunter2"))
    await world.deploy()
    first = _used(world)
    assert _named(world, "ConfigMap", "settings") == {first[0]}
    assert _named(world, "Secret", "password") == {first[1]}

    world.push_objects("web", *_objects("good day", "hunter2"))
    await world.deploy()

    second = _used(world)
    assert (second[0] != first[0], second[1] == first[1]) == (True, True)
    assert _named(world, "ConfigMap", "settings") == {second[0]}
    live = world.get("ConfigMap", second[0])
    assert live is not None
    assert (live["data"], live["immutable"]) == ({"greeting": "good day"}, True)
    assert (await world.plan()).empty
    world.push_objects("web", *_objects("hello", "hunter2"))
    await world.deploy()
    assert _used(world) == first


async def test_while_the_new_pods_are_not_healthy_the_old_content_stays(impatient_world: World) -> None:
    """Old pods may be started again meanwhile: what they read must be there."""
    world = impatient_world
    world.push_objects("web", *_objects("hello", "hunter2"))
    await world.deploy()
    first = _used(world)
    world.push_objects("web", *_objects("good day", "hunter3", replicas=1))  # there is no node to run it

    with pytest.raises(Unhealthy):
        await world.deploy()

    second = _used(world)
    assert _named(world, "ConfigMap", "settings") == {first[0], second[0]}
    assert _named(world, "Secret", "password") == {first[1], second[1]}
    world.push_objects("web", *_objects("good day", "hunter3"))
    await world.deploy()
    assert _named(world, "ConfigMap", "settings") == {second[0]}
    assert _named(world, "Secret", "password") == {second[1]}


async def test_without_the_annotation_nothing_is_renamed(world: World) -> None:
    """What exists keeps its name."""
    world.push_objects("web", config_map("settings", {"greeting": "x"}), secret("password", {"a": "b"}), _user())
    await world.deploy()
    assert _used(world) == ("settings", "password")
