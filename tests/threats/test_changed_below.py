"""What runs is changed below our objects: a pod's image, a container put into it, a foreign pod behind our Service.

Defence: a resync looks at the pods that controllers made from our objects and tells of images and containers that these
do not describe (interlock/cd/below.py), and of pods and endpoints that nothing of ours made
(interlock/cd/strangers.py). It is reported, with who did it where that is known.
Not defended: it is not undone: delete the pod, and its controller makes a good one. Between two resyncs it goes unseen.
Programs that are replaced inside a container. While a StatefulSet or DaemonSet rolls, its older pods are not looked at.
Who may also write ReplicaSets can describe there what their pods run. Injectors that add sidecars or rewrite images
when pods are made are told of as well, unless `allowed_objects` names the pods.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from interlock.cd import below, strangers
from interlock.cd.objects import Body
from interlock.cd.plan import Action, Plan
from interlock.errors import Unhealthy
from tests.cluster.worlds import IMAGE, Recorder, World, deployment, service

EVIL = "registry.example/evil@sha256:" + "66" * 32


@pytest.fixture
async def pod(impatient_world: World) -> Body:
    """One that a Deployment's ReplicaSet made; there is no node that would run it."""
    world = impatient_world
    world.push_objects("web", deployment(replicas=1), service())
    with suppress(Unhealthy):
        await world.deploy()
    for _ in range(200):
        if found := list(world.admin.list(world.admin.resource("v1", "Pod"), world.namespace)):
            break
        await asyncio.sleep(0.1)
    (made,) = found
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-02T03:04:05Z"}
    world.merge(f"{world.path('pods', made['metadata']['name'])}/status", {"status": {"conditions": [ready]}})
    for _ in range(100):
        live = world.get("Deployment", "web", "apps/v1")
        if live is not None and live["status"].get("availableReplicas"):
            break
        await asyncio.sleep(0.1)
    await world.deploy()
    assert (await world.resync()).said == "in sync"
    return made


def _patch_image(world: World, pod: Body) -> None:
    containers = [{"name": "web", "image": EVIL}]
    world.merge(world.path("pods", pod["metadata"]["name"]), {"spec": {"containers": containers}}, manager="mallory")


def _add_debugger(world: World, pod: Body) -> None:
    path = f"{world.path('pods', pod['metadata']['name'])}/ephemeralcontainers"
    world.merge(path, {"spec": {"ephemeralContainers": [{"name": "debugger", "image": EVIL}]}}, manager="mallory")


def _stranger(world: World) -> None:
    """A pod that gets the Service's traffic."""
    metadata = {"name": "stranger", "namespace": world.namespace, "labels": {"app": "web"}}
    spec = {"containers": [{"name": "web", "image": EVIL}]}
    world.admin.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, manager="mallory")


def told(plan: Plan) -> dict[str, list[tuple[str, str | None, str | None, str]]]:
    """Of foreign pods."""
    found = [item for item in plan.having(Action.FOREIGN) if item.identity.kind == "Pod"]
    return {i.identity.name: [(f.path, f.live, f.desired, f.manager) for f in i.fields] for i in found}


async def test_a_patched_image_succeeds_where_only_our_objects_are_compared(
    impatient_world: World, pod: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deployment and ReplicaSet are as Git says, and applying them once more changes nothing: evil runs on."""
    world = impatient_world
    monkeypatch.setattr(below, "changes", lambda *_: ())
    _patch_image(world, pod)
    _add_debugger(world, pod)
    body = {**deployment(replicas=1), "metadata": {"name": "web", "namespace": world.namespace}}
    world.admin.apply(body, manager=world.manager)

    live = world.get("Pod", pod["metadata"]["name"])

    assert live is not None and live["spec"]["containers"][0]["image"] == EVIL
    assert told(await world.plan()) == {}


async def test_a_patched_image_is_told(impatient_world: World, pod: Body) -> None:
    """With both images and whose hand it was; an untouched pod is nothing to tell of."""
    world = impatient_world
    assert told(await world.plan()) == {}
    _patch_image(world, pod)
    presenter = Recorder()

    await world.resync(presenter)

    assert told(await world.plan()) == {
        pod["metadata"]["name"]: [("spec.containers[name=web].image", EVIL, IMAGE, "mallory")]
    }
    rows = [row for table in presenter.report("drift").tables for row in table.rows]
    assert [row[1:5] for row in rows] == [("spec.containers[name=web].image", IMAGE, EVIL, "mallory")]


async def test_an_ephemeral_container_is_told(impatient_world: World, pod: Body) -> None:
    """Somebody's shell in our pod, beside our process."""
    _add_debugger(impatient_world, pod)

    assert told(await impatient_world.plan()) == {
        pod["metadata"]["name"]: [("spec.ephemeralContainers[name=debugger]", EVIL, None, "mallory")]
    }


async def test_a_foreign_pod_succeeds_in_getting_traffic_where_only_our_objects_are_compared(
    impatient_world: World, pod: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Service selects it like ours, and no object of ours has changed."""
    world = impatient_world
    monkeypatch.setattr(strangers, "of", lambda *_, **__: ((), {}))
    _stranger(world)

    service_ = world.get("Service", "web")
    stranger = world.get("Pod", "stranger")

    assert service_ is not None and stranger is not None
    assert service_["spec"]["selector"].items() <= stranger["metadata"]["labels"].items()
    assert told(await world.plan()) == {}


async def test_a_foreign_pod_behind_our_service_is_told(impatient_world: World, pod: Body) -> None:
    """As an object that nobody declared."""
    _stranger(impatient_world)

    plan = await impatient_world.plan()

    assert told(plan) == {"stranger": []}
    (item,) = (item for item in plan.items if item.identity.name == "stranger")
    assert item.reason == "not in Git, not ours"
