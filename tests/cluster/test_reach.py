"""What `interlock bootstrap cluster` gives is what runs use: nothing is missing, and nothing is there for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import yaml

from interlock.cd.control import PROBE, role_name
from interlock.cd.objects import Body, uid
from interlock.contract import layout
from interlock.errors import ClusterError
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster
from tests.cluster.test_permissions import RBAC, bootstrap
from tests.cluster.worlds import World, deployment, manifest_path

DEFINITION = "CustomResourceDefinition"


class Right(NamedTuple):
    """A verb on a kind, as RBAC has it; `name` is empty where all objects of the kind are meant."""

    namespace: str
    group: str
    plural: str
    verb: str
    name: str = ""


class Recording:
    """What was asked of the API server by CD's own identities, as RBAC sees it."""

    def __init__(self) -> None:
        self.used: set[Right] = set()
        self.on = False

    @contextmanager
    def of_a_run(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def note(self, method: str, target: str, *, watch: bool = False, made: bool = False) -> None:
        parts = target.partition("?")[0].split("/")[1:]
        group = ""
        if parts[0] == "apis" and len(parts) > 3:
            group, rest = parts[1], parts[3:]
        elif parts[0] == "api" and len(parts) > 2:
            rest = parts[2:]
        else:
            return  # discovery, the server's schemas and version: everybody may read them
        if group in {"authentication.k8s.io", "authorization.k8s.io"}:
            return  # questions about oneself
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name = rest[0], rest[1] if len(rest) > 1 else ""
        plural += f"/{rest[2]}" if len(rest) > 2 else ""
        single = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
        verbs = {"watch" if watch else single.get(method, "delete")} | ({"create"} if made else set())
        self.used |= {Right(namespace, group, plural, verb, name) for verb in verbs}


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, world: World) -> Recording:
    found = Recording()
    once, opened = Cluster._once, Cluster.opened

    def noted(self: Cluster, client: Any, method: str, target: str, **how: Any) -> tuple[int, Any]:
        status, body = once(self, client, method, target, **how)
        if found.on and self is not world.admin:
            found.note(method, target, made=method == "PATCH" and status == 201)
        return status, body

    def watched(self: Cluster, path: str, **how: Any) -> Any:
        if found.on and self is not world.admin:
            found.note("GET", path, watch="watch" in how["query"])
        return opened(self, path, **how)

    monkeypatch.setattr(Cluster, "_once", noted)
    monkeypatch.setattr(Cluster, "opened", watched)
    return found


def _given(world: World) -> set[Right]:
    """All that the environment's Roles give."""
    name, found = role_name(world.control), set()
    for kind, namespace, role in (
        ("Role", world.control, name),
        ("Role", world.control, f"{name}-writer"),
        ("Role", world.namespace, name),
        ("ClusterRole", "", name),
    ):
        body = world.admin.get(world.admin.resource(RBAC, kind), role, namespace)
        assert body is not None
        found |= {
            Right(namespace, group, plural, verb, named)
            for rule in body["rules"]
            for group in rule["apiGroups"]
            for plural in rule["resources"]
            for verb in rule["verbs"]
            for named in rule.get("resourceNames") or ("",)
        }
    return found


def _covers(given: Right, used: Right) -> bool:
    # A POST names its object in the body alone: RBAC does not see it.
    return given[:4] == used[:4] and given.name in {"", used.name}


# a life ----------------------------------------------------------------------------------------------


def group(world: World) -> str:
    return f"{world.namespace}.example.org"


def definition(world: World, plural: str, kind: str, scope: str) -> Body:
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    spec = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": DEFINITION,
        "metadata": {"name": f"{plural}.{group(world)}"},
        "spec": {"group": group(world), "scope": scope, "names": names, "versions": [version]},
    }


def custom(world: World, kind: str, name: str) -> Body:
    return {"apiVersion": f"{group(world)}/v1", "kind": kind, "metadata": {"name": name}, "spec": {"size": 1}}


def priority(world: World) -> Body:
    name = {"name": f"{world.namespace}-high"}
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": name, "value": 7}


def kinds(world: World) -> list[str]:
    return [DEFINITION, "PriorityClass", f"Wall.{group(world)}"]


def settings(world: World, **more: object) -> dict[str, str | None]:
    value = yaml.safe_load(world.config.read_text())
    value["environments"]["dev"]["cluster_kinds"] = kinds(world)
    world.config.write_text(yaml.safe_dump(value))
    needed = {"format": 1, "id": world.environment_id, "cluster": "sandbox", "namespaces": [world.namespace]}
    file = {**needed, "health_seconds": 30, "cluster_kinds": kinds(world), **more}
    rules = [{"name": "ours", "group": group(world), "kind": "*", "healthy": "has(object.spec)"}]
    return {
        layout.environment("dev"): yaml.safe_dump(file),
        layout.HEALTH: yaml.safe_dump({"format": 1, "rules": rules}),
    }


def begin(world: World) -> None:
    everything = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}},
        definition(world, "widgets", "Widget", "Namespaced"),
        definition(world, "walls", "Wall", "Cluster"),
        custom(world, "Widget", "small"),
        custom(world, "Wall", f"{world.namespace}-wall"),
        priority(world),
        deployment(),
    ]
    world.push(settings(world) | {manifest_path(body["metadata"]["name"]): yaml.safe_dump(body) for body in everything})


@pytest.fixture
def made(world: World) -> Iterator[World]:
    yield world
    for version, kind, name in (
        ("scheduling.k8s.io/v1", "PriorityClass", f"{world.namespace}-high"),
        ("apiextensions.k8s.io/v1", DEFINITION, f"widgets.{group(world)}"),
        ("apiextensions.k8s.io/v1", DEFINITION, f"walls.{group(world)}"),
    ):
        try:
            world.admin.request("DELETE", world.admin.resource(version, kind).path("", name))
        except ClusterError as error:
            assert error.status == 404


async def test_bootstrap_gives_just_what_runs_use(made: World, sandbox: Sandbox, recording: Recording) -> None:
    """A whole life under that credential alone: made, changed, put right, and pruned, in namespaces and beside them."""
    world = made
    begin(world)
    code, _, told = bootstrap(world, kubeconfig=sandbox.place.kubeconfig)
    assert code == 0, told
    given = _given(world)

    with recording.of_a_run():
        assert (await world.deploy()).said == "deployed"
        assert (await world.plan()).unseen == ()
        # What somebody put into ours goes, and what he changed is put back; a pod that waits is looked into.
        for kind, name, namespace, plural in (
            ("Wall", f"{world.namespace}-wall", "", "walls"),
            ("Widget", "small", world.namespace, "widgets"),
        ):
            path = world.admin.resource(f"{group(world)}/v1", kind).path(namespace, name)
            patch = [
                {"op": "add", "path": "/spec/size", "value": 9},
                {"op": "add", "path": "/metadata/labels/foreign", "value": "1"},
            ]
            world.admin._exchange(
                "PATCH", path, query={}, body=patch, content="application/json-patch+json", subject=plural
            )
        priority_path = world.admin.resource("scheduling.k8s.io/v1", "PriorityClass").path(
            "", priority(world)["metadata"]["name"]
        )
        world.merge(priority_path, {"metadata": {"labels": {"foreign": "1"}}})
        world.merge(world.path("configmaps", "base"), {"data": {"foreign": "1"}})
        assert (await world.resync()).said == "drift undone"
        # The lock's Lease is gone, and who held it may live.
        world.delete(f"/apis/coordination.k8s.io/v1/namespaces/{world.control}/leases/{world.manager}")
        world.push_objects("web", deployment(replicas=1))
        with pytest.raises(Exception, match="not healthy"):
            await world.deploy()
        world.push_objects("web", deployment(replicas=0))
        await world.deploy()
        world.push({"README.md": "nothing\n"})
        assert (await world.deploy()).note == "the commit changes nothing here"
        _drop(world)
        assert (await world.deploy()).said == "deployed"

    assert not {right for right in recording.used if not any(_covers(each, right) for each in given)}
    unused = {each for each in given if not any(_covers(each, right) for right in recording.used)}
    assert {each for each in unused if not _needed_elsewhere(world, each, recording.used)} == set()


def _drop(world: World) -> None:
    """All but a ConfigMap and the Namespace leaves Git; the definitions by confirmation."""
    names = [f"{plural}.{group(world)}" for plural in ("widgets", "walls")]
    resource = world.admin.resource("apiextensions.k8s.io/v1", DEFINITION)
    bodies = [body for name in names if (body := world.admin.get(resource, name))]
    confirmed = [
        {
            "kind": f"{DEFINITION}.apiextensions.k8s.io",
            "name": body["metadata"]["name"],
            "uid": uid(body),
            "reason": "nobody uses the kind any more",
        }
        for body in bodies
    ]
    gone = (*names, "small", f"{world.namespace}-wall", f"{world.namespace}-high", "web")
    world.push(settings(world, prune=confirmed) | {manifest_path(name): None for name in gone})


def _needed_elsewhere(world: World, unused: Right, used: set[Right]) -> bool:
    """Whether another life needs a right that this one did not use. A verb is needed by every kind that Git has as soon
    as one of its objects is made, changed or dropped: then some kind of its sort has used it.
    """
    sort = _sort(world, unused)
    return bool(sort and any(each.verb == unused.verb and _sort(world, each) == sort for each in used)) or unused in {
        Right(world.namespace, "", "pods/log", "get"),  # of containers that crash, which takes a node
        # whether the lock stands, which only a host with `admission_lock` looks at
        Right("", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", "list"),
        Right(world.control, "", "configmaps", "delete"),  # of an inventory that needs fewer parts than before
        Right("", "", "namespaces", "create", world.namespace),  # bootstrap made it
        Right("", "", "namespaces", "delete", world.namespace),  # takes this world along
    }


def _sort(world: World, right: Right) -> str:
    """`inside` or `beside` the namespaces, for the kinds that Git has; nothing for others."""
    if right.namespace == world.namespace and right.plural in {"configmaps", "deployments", "widgets"}:
        return "inside"
    wide = {"walls", "priorityclasses", "customresourcedefinitions"}
    return "beside" if right.name not in {"", PROBE} and right.plural in wide else ""
