"""What an environment has beside its namespaces: custom kinds come first, and only where the host allows it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import yaml

from interlock.cd.control import ACCOUNT, Subject
from interlock.cd.objects import Body
from interlock.contract import layout
from interlock.errors import Blocked, ClusterError, Refused, RenderError, Unhealthy
from tasks.cd.cluster import connect
from tasks.cd.schemas import ServerSchemas
from tests.cluster.test_order import application, broken
from tests.cluster.worlds import USER, World, config_map

DEFINITION, RBAC = "CustomResourceDefinition", "rbac.authorization.k8s.io"


def group(world: World) -> str:
    return f"{world.namespace}.example.org"


def definition(world: World, *, kind: str = "Widget") -> Body:
    names = {"plural": "widgets", "singular": "widget", "kind": kind}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": DEFINITION,
        "metadata": {"name": f"widgets.{group(world)}"},
        "spec": {"group": group(world), "scope": "Namespaced", "names": names, "versions": [version]},
    }


def widget(world: World) -> Body:
    return {
        "apiVersion": f"{group(world)}/v1",
        "kind": "Widget",
        "metadata": {"name": "small"},
        "spec": {"size": 1},
    }


def allowed(world: World, *, host: bool = True) -> dict[str, str | None]:
    """environment.yaml that asks for custom kinds, which the host gives; and when a widget is healthy."""
    if host:
        value = yaml.safe_load(world.config.read_text())
        value["environments"]["dev"]["cluster_kinds"] = [DEFINITION]
        world.config.write_text(yaml.safe_dump(value))
    rules = [{"name": "widget", "group": group(world), "kind": "Widget", "healthy": "has(object.spec)"}]
    return {
        layout.environment("dev"): (
            f'format: 1\nid: "{world.environment_id}"\ncluster: sandbox\nnamespaces: [{world.namespace}]\n'
            f"health_seconds: 20\ncluster_kinds: [{DEFINITION}]\n"
        ),
        "policy/health.yaml": yaml.safe_dump({"format": 1, "rules": rules}),
    }


def test_a_definition_may_come_while_schemas_are_read(world: World) -> None:
    """The server moves a group's schemas when a definition of it changes: they are found at their new address."""
    server = ServerSchemas(world.admin, None)
    kind = (f"{group(world)}/v1", "Widget")
    body = definition(world)
    world.admin.apply(body, manager="admin")
    try:
        _await_schema(world, "size")
        assert server.find("v1", "ConfigMap")
        (version,) = body["spec"]["versions"]
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["colour"] = {"type": "string"}
        world.admin.apply(body, manager="admin")
        _await_schema(world, "colour")
        schema = server.find(*kind)
        assert schema
        assert schema.problems({**widget(world), "spec": {"colour": "red"}}) == ()
    finally:
        definitions = world.admin.resource("apiextensions.k8s.io/v1", DEFINITION)
        world.admin.request("DELETE", definitions.path(name=f"widgets.{group(world)}"))


def _await_schema(world: World, field: str) -> None:
    """Until the server's schemas of the group know the field: they follow a definition by some moments."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        schema = ServerSchemas(world.admin, None).find(f"{group(world)}/v1", "Widget")
        if schema and not schema.problems({**widget(world), "spec": {field: None}}):
            return
        time.sleep(0.2)
    pytest.fail(f"the server's schemas do not get {field}")


@pytest.fixture
def rights(world: World) -> Iterator[World]:
    """CD may make custom kinds, and what is of them."""
    subjects = [Subject("User", USER).body, Subject("ServiceAccount", ACCOUNT, world.control).body]
    rules = [
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["*"]},
        {"apiGroups": [group(world)], "resources": ["*"], "verbs": ["*"]},
    ]
    named = {"metadata": {"name": group(world)}, "apiVersion": f"{RBAC}/v1"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": group(world)}
    world.admin.apply({**named, "kind": "ClusterRole", "rules": rules}, manager="admin")
    world.admin.apply(
        {**named, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects}, manager="admin"
    )
    yield world
    made = (
        (f"{RBAC}/v1", "ClusterRoleBinding", group(world)),
        (f"{RBAC}/v1", "ClusterRole", group(world)),
        ("apiextensions.k8s.io/v1", DEFINITION, f"widgets.{group(world)}"),
    )
    for version, kind, name in made:
        try:
            world.admin.request("DELETE", world.admin.resource(version, kind).path("", name))
        except ClusterError as error:
            assert error.status == 404


async def test_an_object_of_a_new_kind_is_applied_right_after_it(rights: World) -> None:
    """Definition and object come in one commit: the one is waited for until it is served, the other follows."""
    world = rights
    others = [{**widget(world), "metadata": {"name": name}} for name in ("second", "third")]
    made = application("shop-widgets", widget(world), *others)
    world.push({**application("operator", definition(world)), **made} | allowed(world))

    assert (await world.deploy()).said == "deployed"

    for name in ("small", "second", "third"):
        live = world.get("Widget", name, f"{group(world)}/v1")
        assert live is not None
        assert live["spec"] == {"size": 1}
    assert (await world.plan()).empty


async def test_an_object_may_use_a_version_that_its_definition_gets_in_the_same_commit(rights: World) -> None:
    """Those that exist move to it, and new ones are made at it, in one commit."""
    world = rights
    world.push(
        {**application("operator", definition(world)), **application("shop-widgets", widget(world))} | allowed(world)
    )
    await world.deploy()
    changed = definition(world)
    (first,) = changed["spec"]["versions"]
    changed["spec"]["versions"] = [first, {**copy.deepcopy(first), "name": "v2", "storage": False}]
    moved = {**widget(world), "apiVersion": f"{group(world)}/v2"}
    others = [{**moved, "metadata": {"name": name}} for name in ("second", "third")]
    world.push({**application("operator", changed), **application("shop-widgets", moved, *others)})

    assert (await world.deploy()).said == "deployed"

    for name in ("small", "second", "third"):
        assert world.get("Widget", name, f"{group(world)}/v2")
    assert (await world.plan()).empty


def test_a_kind_is_found_at_a_version_that_its_group_does_not_prefer(world: World) -> None:
    """An object that only the inventory names is not taken for gone because its group prefers another version."""
    older, newer = definition(world), definition(world, kind="Gadget")
    older["spec"]["versions"][0]["name"] = "v1alpha1"
    newer["spec"]["names"] |= {"plural": "gadgets", "singular": "gadget"}
    newer["metadata"]["name"] = f"gadgets.{group(world)}"
    definitions = world.admin.resource("apiextensions.k8s.io/v1", DEFINITION)
    try:
        for body in (older, newer):
            world.admin.apply(body, manager="admin")
        for version, kind in (("v1", "Gadget"), ("v1alpha1", "Widget")):
            _await_kind(world, f"{group(world)}/{version}", kind)
        with connect(world.kubeconfig) as cluster:
            assert cluster.preferred(group(world), "Widget").version == "v1alpha1"
    finally:
        for body in (older, newer):
            world.admin.request("DELETE", definitions.path(name=body["metadata"]["name"]))


def _await_kind(world: World, api_version: str, kind: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(ClusterError):
            world.admin.resource(api_version, kind)
            return
        time.sleep(0.2)
    pytest.fail(f"{kind} is not served")


async def test_an_object_may_use_what_its_definition_gets_in_the_same_commit(rights: World) -> None:
    """A field that a changed definition adds is no misspelt one, in new objects and in those that exist."""
    world = rights
    world.push(
        {**application("operator", definition(world)), **application("shop-widgets", widget(world))} | allowed(world)
    )
    await world.deploy()
    changed = definition(world)
    spec = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["colour"] = {"type": "string"}
    coloured = {**widget(world), "spec": {"size": 1, "colour": "red"}}
    second = {**coloured, "metadata": {"name": "second"}}
    world.push({**application("operator", changed), **application("shop-widgets", coloured, second)})

    assert (await world.deploy()).said == "deployed"

    for name in ("small", "second"):
        live = world.get("Widget", name, f"{group(world)}/v1")
        assert live is not None
        assert live["spec"] == {"size": 1, "colour": "red"}
    assert (await world.plan()).empty


def judged_by(world: World, healthy: str, size: int) -> dict[str, str | None]:
    """A health rule of the widget, and the widget itself."""
    changed = allowed(world)
    environment = str(changed[layout.environment("dev")]).replace("health_seconds: 20", "health_seconds: 2")
    rules = [{"name": "widget", "group": group(world), "kind": "Widget", "healthy": healthy}]
    policy = {layout.HEALTH: yaml.safe_dump({"format": 1, "rules": rules}), layout.environment("dev"): environment}
    return changed | policy | application("shop-widgets", {**widget(world), "spec": {"size": size}})


async def test_no_commit_loosens_the_health_rule_that_judges_it(rights: World) -> None:
    """What a commit changes has to be healthy by the rule before it too, however often it is tried; what it leaves as
    it was, by its own alone, so that a wrong rule can be mended.
    """
    world = rights
    world.push(application("operator", definition(world)) | judged_by(world, "object.spec.size == 1", 1))
    assert (await world.deploy()).said == "deployed"

    world.push(judged_by(world, "true", 2))
    for _ in range(2):
        with pytest.raises(Unhealthy, match="by the health rule before this commit"):
            await world.deploy()
    world.push(judged_by(world, "true", 1))
    assert (await world.deploy()).said == "deployed"
    world.push(judged_by(world, "true", 2))
    assert (await world.deploy()).said == "deployed"

    world.push(judged_by(world, "false", 2))
    with pytest.raises(Unhealthy):
        await world.deploy()
    world.push(judged_by(world, "object.spec.size == 2", 2))
    assert (await world.deploy()).said in {"deployed", "in sync"}


async def test_a_definition_that_is_refused_stops_who_uses_it(rights: World) -> None:
    """The object of its kind stays out, a neighbour is deployed, and the reason is the definition's."""
    world = rights
    wrong = definition(world)
    wrong["metadata"]["name"] = f"gadgets.{group(world)}"
    world.push(
        {**application("operator", wrong), **application("shop-widgets", widget(world)), **application("other")}
        | allowed(world)
    )

    with pytest.raises(Exception, match="gadgets") as stopped:
        await world.deploy()

    assert "Widget" in str(stopped.value) or "shop-widgets" in str(stopped.value)
    assert world.get("ConfigMap", "other") is not None


async def test_a_blocked_applications_definition_is_there_for_the_others(rights: World) -> None:
    """What the neighbour needs of it is applied and waited for; all else of it stays as it is."""
    world = rights
    world.push(
        {**application("operator", definition(world), broken("operator"), config_map("more", {"a": "1"}))}
        | {**application("shop-widgets", widget(world))}
        | allowed(world)
    )

    with pytest.raises(Blocked, match="operator"):
        await world.deploy()

    assert world.get("Widget", "small", f"{group(world)}/v1") is not None
    assert world.get("ConfigMap", "more") is None


async def test_only_what_the_environment_asks_for_and_the_host_gives(world: World) -> None:
    """Without `cluster_kinds` a definition is refused with file and line; without the host's word the whole head is."""
    files = application("operator", definition(world), config_map("c", {"a": "1"}))
    world.push(files)
    with pytest.raises(RenderError, match="belongs to no namespace"):
        await world.deploy()

    world.push(allowed(world, host=False))
    with pytest.raises(Refused, match=f"asks for kind {DEFINITION}") as refused:
        await world.deploy()
    assert refused.value.rule == "ceiling"
