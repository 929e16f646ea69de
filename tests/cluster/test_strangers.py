"""Every object in an environment's namespaces is accounted for, whatever its kind; and what judges them, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from interlock.cd.control import ACCOUNT, role_name
from interlock.cd.objects import Body, uid
from interlock.cd.plan import Action, Plan
from interlock.errors import ClusterError
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster, connect
from tests.cluster.test_permissions import RBAC, bootstrap
from tests.cluster.worlds import USER, Recorder, World, service

ADMISSION = "admissionregistration.k8s.io/v1"


def foreign(plan: Plan) -> list[str]:
    """Kind and name of what is foreign, as the plan orders it."""
    return [f"{item.identity.kind}/{item.identity.name}" for item in plan.having(Action.FOREIGN)]


def _trap(world: World) -> Body:
    names = {"plural": "traps", "singular": "trap", "kind": "Trap"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    group = f"{world.namespace}.example.org"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"traps.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture
def trap(world: World) -> Iterator[Body]:
    """A custom kind that nobody named, and an object of it in the environment's namespace."""
    definition = world.admin.apply(_trap(world), manager="admin").body
    group = definition["spec"]["group"]
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "Trap",
        "metadata": {"name": "set", "namespace": world.namespace, "labels": {"app": "trap"}},
    }
    for _ in range(200):
        try:
            world.admin.apply(body, manager="mallory")
            break
        except ClusterError:
            time.sleep(0.1)
    yield body
    world.delete(world.admin.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition").path("", f"traps.{group}"))


async def test_what_is_of_a_kind_that_nobody_named_is_seen(world: World, trap: Body, sandbox: Sandbox) -> None:
    """Custom kinds by discovery; until CD may list them the plan says so, and what gives the right."""
    await world.deploy()
    presenter = Recorder()
    plan = await world.plan(presenter)
    assert not any(name.startswith("Trap/") for name in foreign(plan))
    assert any("Trap." in note and "cannot be seen" in note for note in plan.notes)
    assert f"interlock bootstrap cluster dev --kubeconfig ADMIN --control-namespace {world.control} --user {USER}" in (
        presenter.report("permissions").markdown
    )

    assert bootstrap(world, kubeconfig=sandbox.place.kubeconfig)[0] == 0

    plan = await world.plan()
    assert "Trap/set" in foreign(plan)
    assert plan.unseen == ()
    item = next(item for item in plan.items if item.identity.kind == "Trap")
    assert item.manager == "mallory"


async def test_endpoints_made_by_hand_are_seen_and_a_services_own_are_not(world: World) -> None:
    """Traffic of a Service follows every slice with its name: one that no controller keeps is foreign, owner or not."""
    world.push_objects("web", service())
    await world.deploy()
    live = world.get("Service", "web")
    assert live is not None
    slices = world.admin.resource("discovery.k8s.io/v1", "EndpointSlice")
    for _ in range(100):
        if world.admin.list(slices, world.namespace) and world.get("Endpoints", "web"):
            break
        await asyncio.sleep(0.1)
    assert foreign(await world.plan()) == []

    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid(live), "controller": True}
    forged = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-more",
            "namespace": world.namespace,
            "labels": {"kubernetes.io/service-name": "web"},
            "ownerReferences": [owner],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 8080}],
    }
    world.admin.create(forged, manager="mallory")
    assert foreign(await world.plan()) == ["EndpointSlice/web-more"]


def _hook(world: World, kind: str, name: str, selector: Body) -> Body:
    """A webhook that is asked about deletions of ConfigMaps, and never hinders: nothing answers."""
    webhook = {
        "name": "hook.example.org",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["DELETE"]},
        ],
        "namespaceSelector": selector,
        "failurePolicy": "Ignore",
        "timeoutSeconds": 1,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    metadata = {"name": f"{world.namespace}-{name}"}
    return {"apiVersion": ADMISSION, "kind": kind, "metadata": metadata, "webhooks": [webhook]}


@pytest.fixture
def hooks(world: World) -> Iterator[World]:
    """Three that are asked about the environment's namespace, one about another."""
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    other = [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [world.namespace]}]
    made = [
        _hook(world, "MutatingWebhookConfiguration", "changes", here),
        _hook(world, "ValidatingWebhookConfiguration", "refuses", here),
        _hook(world, "ValidatingWebhookConfiguration", "known", here),
        _hook(world, "MutatingWebhookConfiguration", "elsewhere", {"matchExpressions": other}),
    ]
    for body in made:
        world.admin.apply(body, manager="mallory")
    yield world
    for body in made:
        world.delete(world.admin.resource(ADMISSION, body["kind"]).path("", body["metadata"]["name"]))


async def test_webhooks_that_judge_a_managed_namespace_are_seen(hooks: World) -> None:
    """By their selectors and rules; one that environment.yaml allows, and one of other namespaces, are not foreign."""
    world = hooks
    reason = "the platform's own, agreed with its owners"
    known = {"kind": "ValidatingWebhookConfiguration", "name": f"{world.namespace}-known", "reason": reason}
    world.decide(allowed_objects=[known])
    await world.deploy()

    plan = await world.plan()

    mine = {name.rpartition("-")[2]: item for item in plan.items if (name := item.identity.name).startswith("t")}
    assert {name for name, item in mine.items() if item.action == Action.FOREIGN} == {"changes", "refuses"}
    assert mine["changes"].reason == "not in Git, not ours; it may change what is written in the namespaces"
    assert mine["refuses"].reason == "not in Git, not ours; it may refuse what is written in the namespaces"
    assert (mine["changes"].manager, bool(mine["changes"].time)) == ("mallory", True)


# a namespace's administrator ----------------------------------------------------------------------------


@pytest.fixture
def administrator(world: World, sandbox: Sandbox) -> Iterator[Cluster]:
    """A user with the built-in role `admin` in the application's namespace: he may make Roles and bindings there."""
    name = f"lead-{world.namespace}"
    subject = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    world.admin.apply(_binding(world, "lead", "ClusterRole", "admin", [subject]), manager="admin")
    path = world.config.parent / "lead.kubeconfig"
    client_kubeconfig(sandbox.place, user=name, path=path, owner_uid=0)
    with connect(path) as found:
        yield found


def _binding(world: World, name: str, kind: str, role: str, subjects: list[Body]) -> Body:
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": world.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": subjects,
    }


async def test_rights_that_hide_behind_our_names_are_seen(world: World, administrator: Cluster) -> None:
    """A namespace's administrator gives rights to himself by Roles and bindings that are named as ours are."""
    await world.deploy()
    name = role_name(world.control)
    mallory = {"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}
    writer = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.control}
    role = {
        "apiVersion": RBAC,
        "kind": "Role",
        "metadata": {"name": f"{name}-0badcafe", "namespace": world.namespace},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}],
    }
    administrator.create(role, manager="lead")
    beside_us = _binding(world, f"{name}-0badcafe", "Role", f"{name}-0badcafe", [writer, mallory])
    administrator.create(beside_us, manager="lead")
    to_our_role = _binding(world, f"{name}-more", "Role", f"{name}-0badcafe", [writer])
    administrator.create(to_our_role, manager="lead")

    assert foreign(await world.plan()) == [
        f"RoleBinding/{name}-0badcafe",
        f"RoleBinding/{name}-more",
        "RoleBinding/lead",
    ]

    # Into our own binding: somebody with more rights did that for him.
    us = {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}
    world.admin.apply(_binding(world, name, "Role", name, [us, writer, mallory]), manager="lead", force=True)
    assert f"RoleBinding/{name}" in foreign(await world.plan())


async def test_an_owner_that_is_not_what_it_says_hides_nothing(world: World, administrator: Cluster) -> None:
    """A UID of a managed object under another group's kind, as anybody may write it."""
    await world.deploy()
    live = world.get("ConfigMap", "base")
    assert live is not None
    owner = {"apiVersion": "evil.example.org/v1", "kind": "ConfigMap", "name": "base", "uid": uid(live)}
    body = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "miner", "namespace": world.namespace, "ownerReferences": [{**owner, "controller": True}]},
        "spec": {
            "replicas": 0,
            "selector": {"app": "miner"},
            "template": {
                "metadata": {"labels": {"app": "miner"}},
                "spec": {"containers": [{"name": "m", "image": "registry.example/m@sha256:" + "1a" * 32}]},
            },
        },
    }
    administrator.create(body, manager="lead")
    assert "ReplicationController/miner" in foreign(await world.plan())
