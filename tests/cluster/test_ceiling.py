"""What an environment's manifests may not make, however much CD's identity may do in the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from interlock.cd.objects import Body
from interlock.errors import Blocked, ClusterError
from tests.cluster.worlds import USER, World

GROUP, VERSION = "ceiling.example.org", "ceiling.example.org/v1"


@pytest.fixture
def wall(world: World) -> Iterator[Body]:
    """A custom kind without namespaces, of which CD may write everything; the body is one as a manifest has it."""
    definition = {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"plural": "walls", "singular": "wall", "kind": "Wall"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    }
    role = {"rules": [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]}]}
    binding = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": GROUP},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    made = (
        _named("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"walls.{GROUP}") | {"spec": definition},
        _named("rbac.authorization.k8s.io/v1", "ClusterRole", GROUP) | role,
        _named("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", GROUP) | binding,
    )
    for body in made:
        world.admin.apply(body, manager="admin")
    _wait_until_served(world)
    yield _named(VERSION, "Wall", "around-everything")
    for body in made:
        path = world.admin.resource(body["apiVersion"], body["kind"]).path("", body["metadata"]["name"])
        world.admin.request("DELETE", path)


def _named(version: str, kind: str, name: str) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def _wait_until_served(world: World) -> None:
    for _ in range(100):
        try:
            world.admin.list(world.admin.resource(VERSION, "Wall"))
        except ClusterError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the definition is not served")


async def test_a_custom_kind_without_namespaces_is_not_made(world: World, wall: Body) -> None:
    """The server would pass over the manifest's namespace, and one environment would rule the whole cluster."""
    world.push_objects("wall", wall)

    with pytest.raises(Blocked, match="owns only what is in its namespaces"):
        await world.deploy()

    assert world.admin.list(world.admin.resource(VERSION, "Wall")) == ()
