"""Traffic is led elsewhere, or writes are changed, by what stands beside our objects: endpoints, webhooks.

Defence: every kind that the API server knows is looked at in the environment's namespaces, endpoints that no controller
keeps are foreign whatever their labels and owners say, and so are webhooks and admission policies that judge one of
the namespaces (interlock/cd/strangers.py, interlock/cd/admission.py).
Not defended: they are reported, not removed. Until CD may list a kind, a plan says that it cannot see it. What leads
traffic elsewhere outside of the API server: DNS, a mesh, a load balancer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.cd import strangers
from interlock.cd.objects import uid
from interlock.cd.plan import Action
from tests.cluster.worlds import World, service

ADMISSION = "admissionregistration.k8s.io/v1"


@pytest.fixture
async def led_away(world: World) -> None:
    """A slice of our Service, by its name, with our Service as its owner, that no controller keeps."""
    world.push_objects("web", service())
    await world.deploy()
    live = world.get("Service", "web")
    assert live is not None
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid(live), "controller": True}
    metadata = {
        "name": "web-more",
        "namespace": world.namespace,
        "labels": {"kubernetes.io/service-name": "web"},
        "ownerReferences": [owner],
    }
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4"}
    more = {"endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 8080}]}
    world.admin.create({**body, **more}, manager="mallory")


@pytest.fixture
def webhook(world: World) -> Iterator[str]:
    """One that is asked about every ConfigMap of the namespace, and may change it."""
    name = f"change-{world.namespace}"
    hook = {
        "name": "change.example.org",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "failurePolicy": "Ignore",
        "timeoutSeconds": 1,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = "MutatingWebhookConfiguration"
    body = {"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]}
    world.admin.create(body, manager="mallory")
    yield name
    world.delete(world.admin.resource(ADMISSION, kind).path("", name))


async def foreign(world: World) -> set[str]:
    return {item.identity.name for item in (await world.plan()).having(Action.FOREIGN)}


async def test_leading_away_succeeds_where_only_our_objects_are_compared(
    world: World, led_away: None, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Service is as Git says, the slice carries its name, and the environment is called in sync."""
    monkeypatch.setattr(strangers, "of", lambda *_, **__: ((), {}))
    monkeypatch.setattr(strangers, "judging", lambda *_, **__: ())

    assert (await world.resync()).said == "in sync"
    assert await foreign(world) == set()
    assert world.get("EndpointSlice", "web-more", "discovery.k8s.io/v1") is not None


async def test_leading_away_is_told(world: World, led_away: None, webhook: str) -> None:
    """Both are foreign, with their names."""
    assert await foreign(world) == {"web-more", webhook}
