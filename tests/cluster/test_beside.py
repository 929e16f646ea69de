"""What an environment has beside its namespaces: whose it is among several, and what goes along with a definition."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from flows.cd.plan import plan_order
from interlock.cd.control import ACCOUNT, Subject
from interlock.cd.objects import PART_OF, Body, uid
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract import layout
from interlock.errors import Blocked, ClusterError
from tests.cluster.test_definitions import DEFINITION, RBAC, group
from tests.cluster.test_handover import Pair
from tests.cluster.test_handover import pair as pair  # noqa: PLC0414 - a fixture of that file, used here too
from tests.cluster.worlds import USER, Recorder, config_map, manifest_path


def wall(pair: Pair) -> Body:
    version = f"{group(pair.world)}/v1"
    return {"apiVersion": version, "kind": "Wall", "metadata": {"name": "around"}, "spec": {"height": 3}}


def widget(pair: Pair) -> Body:
    version = f"{group(pair.world)}/v1"
    return {"apiVersion": version, "kind": "Widget", "metadata": {"name": "small"}, "spec": {"size": 1}}


def definition(pair: Pair, plural: str, kind: str, *, scope: str) -> Body:
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": DEFINITION,
        "metadata": {"name": f"{plural}.{group(pair.world)}"},
        "spec": {"group": group(pair.world), "scope": scope, "names": names, "versions": [version]},
    }


@pytest.fixture
def wide(pair: Pair) -> Iterator[Pair]:
    """Both environments may make definitions, and all of the kinds below. Walls are served, and in no namespace."""
    world = pair.world
    controls = (world.control, f"{pair.own}-control")
    subjects = [Subject("User", USER).body, *(Subject("ServiceAccount", ACCOUNT, each).body for each in controls)]
    rules = [
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["*"]},
        {"apiGroups": [group(world)], "resources": ["*"], "verbs": ["*"]},
    ]
    named = {"metadata": {"name": group(world)}, "apiVersion": f"{RBAC}/v1"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": group(world)}
    made: list[Body] = [
        {**named, "kind": "ClusterRole", "rules": rules},
        {**named, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects},
        definition(pair, "walls", "Wall", scope="Cluster"),
    ]
    for body in made:
        world.admin.apply(body, manager="admin")
    _until_served(pair, "Wall")
    yield pair
    for body in [*made, definition(pair, "widgets", "Widget", scope="Namespaced")]:
        try:
            path = world.admin.resource(body["apiVersion"], body["kind"]).path("", body["metadata"]["name"])
            world.admin.request("DELETE", path)
        except ClusterError as error:
            assert error.status == 404


def _until_served(pair: Pair, kind: str) -> None:
    for _ in range(200):
        try:
            pair.world.admin.list(pair.world.admin.resource(f"{group(pair.world)}/v1", kind))
        except ClusterError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the definition is not served")


def _push(pair: Pair, dev: list[Body], prod: list[Body], *, kinds: dict[str, list[str]], **more: object) -> None:
    """What each environment has, and which kinds beside its namespaces; `more` goes into dev's file."""
    world = pair.world
    host = yaml.safe_load(world.config.read_text())
    files: dict[str, str | None] = {}
    for name, identifier, spaces, objects in (
        ("dev", world.environment_id, [world.namespace], dev),
        ("prod", pair.prod_id, [pair.own], prod),
    ):
        given = host["environments"][name].setdefault("cluster_kinds", [])
        given += [kind for kind in kinds.get(name, []) if kind not in given]
        file = {"format": 1, "id": identifier, "cluster": "sandbox", "namespaces": spaces, "health_seconds": 20}
        file |= {"cluster_kinds": kinds.get(name, [])} | (more if name == "dev" else {})
        files[layout.environment(name)] = yaml.safe_dump(file)
        bodies = [config_map("always", {"a": "1"}), *objects]
        files[manifest_path("objects").replace("/dev/", f"/{name}/")] = yaml.safe_dump_all(bodies)
    rules = [{"name": "ours", "group": group(world), "kind": "*", "healthy": "has(object.spec)"}]
    files[layout.HEALTH] = yaml.safe_dump({"format": 1, "rules": rules})
    world.config.write_text(yaml.safe_dump(host))
    world.push(files)


async def _plan(pair: Pair, environment: str = "dev") -> Plan:
    return await plan_order(Recorder(), pair.world.host, environment)


def _item(plan: Plan, kind: str) -> PlanItem:
    return next(item for item in plan.items if item.identity.kind == kind)


def _wall(pair: Pair) -> Body | None:
    return pair.world.get("Wall", "around", f"{group(pair.world)}/v1", namespace="")


# whose it is -----------------------------------------------------------------------------------------


async def test_a_custom_kind_without_namespaces_is_made_where_it_is_declared(wide: Pair) -> None:
    """Made, unchanged, put right and pruned as any other; another environment that names it is told whose it is not."""
    kind = f"Wall.{group(wide.world)}"
    both = {"dev": [kind], "prod": [kind]}
    _push(wide, [wall(wide)], [], kinds=both)
    assert await wide.deploy("dev") == "deployed"
    made = _wall(wide)
    assert made is not None
    assert "namespace" not in made["metadata"]
    assert (await _plan(wide)).empty

    _push(wide, [wall(wide)], [wall(wide)], kinds=both)
    with pytest.raises(Blocked, match="exists and is not ours"):
        await wide.deploy("prod")
    assert uid(_wall(wide) or {}) == uid(made)

    _push(wide, [], [], kinds=both)
    assert await wide.deploy("dev") == "deployed"
    assert _wall(wide) is None


@pytest.mark.parametrize("first", ["dev", "prod"])
async def test_what_is_in_no_namespace_is_handed_over_whoever_runs_first(wide: Pair, first: str) -> None:
    """Moved by one commit that takes the kind from the old environment: the same object, never deleted in between."""
    kind = f"Wall.{group(wide.world)}"
    _push(wide, [wall(wide)], [], kinds={"dev": [kind], "prod": [kind]})
    await wide.deploy("dev")
    before = uid(_wall(wide) or {})

    _push(wide, [], [wall(wide)], kinds={"prod": [kind]})
    order = [first, "dev" if first == "prod" else "prod", "dev"]
    for name in order:
        await wide.deploy(name)

    live = _wall(wide)
    assert live is not None
    assert uid(live) == before
    assert [i.kind for i in wide.world.inventory().entries if i.kind == "Wall"] == []
    assert (await _plan(wide, "prod")).empty


async def test_a_namespaced_kind_is_not_taken_for_one_without(wide: Pair) -> None:
    """Named in `cluster_kinds` by mistake: the object is blocked, and the reason says which entry is wrong."""
    world = wide.world
    world.admin.apply(definition(wide, "widgets", "Widget", scope="Namespaced"), manager="admin")
    _until_served(wide, "Widget")
    kind = f"Widget.{group(world)}"
    _push(wide, [widget(wide)], [], kinds={"dev": [kind]})
    with pytest.raises(Blocked, match="every Widget of the cluster is in a namespace"):
        await wide.deploy("dev")


# what goes along -------------------------------------------------------------------------------------


def _confirmation(pair: Pair) -> dict[str, object]:
    body = pair.world.get(DEFINITION, f"widgets.{group(pair.world)}", "apiextensions.k8s.io/v1", namespace="")
    assert body is not None
    name = body["metadata"]["name"]
    return {"kind": f"{DEFINITION}.apiextensions.k8s.io", "name": name, "uid": uid(body), "reason": "used no more"}


@pytest.mark.parametrize("stripped", [False, True])
async def test_a_definition_does_not_take_another_environments_objects_along(wide: Pair, *, stripped: bool) -> None:
    """However it is confirmed, also when the marks are gone from them; it goes when nobody declares any more."""
    kinds = {"dev": [DEFINITION]}
    defined = definition(wide, "widgets", "Widget", scope="Namespaced")
    _push(wide, [defined], [], kinds=kinds)
    await wide.deploy("dev")
    _push(wide, [defined], [widget(wide)], kinds=kinds)
    await wide.deploy("prod")
    path = wide.world.admin.resource(f"{group(wide.world)}/v1", "Widget").path(wide.own, "small")
    if stripped:
        patch = [
            {"op": "remove", "path": f"/metadata/labels/{PART_OF.replace('/', '~1')}"},
            {"op": "replace", "path": "/metadata/managedFields", "value": [{}]},
        ]
        wide.world.admin._exchange(
            "PATCH", path, query={}, body=patch, content="application/json-patch+json", subject=path
        )

    confirmed = _confirmation(wide)
    _push(wide, [], [widget(wide)], kinds=kinds, prune=[confirmed])
    item = _item(await _plan(wide), DEFINITION)
    assert (item.action, item.kept) == (Action.FOREIGN, True)
    assert item.reason == f"kept: it would take Widget/{wide.own}/small of environment prod along"
    await wide.deploy("dev")
    assert wide.world.admin.request("GET", path)["metadata"]["name"] == "small"

    _push(wide, [], [], kinds=kinds, prune=[confirmed])
    if stripped:
        wide.world.delete(path)
    await wide.deploy("prod")
    assert "0 objects besides ours" in _item(await _plan(wide), DEFINITION).reason
    await wide.deploy("dev")
    with pytest.raises(ClusterError):
        wide.world.admin.request("GET", path)


async def test_a_definition_stays_while_not_all_of_its_kind_can_be_seen(wide: Pair) -> None:
    """Without the right to list the kind in the whole cluster; what gives it is shown with the plan."""
    world = wide.world
    kinds = {"dev": [DEFINITION]}
    _push(wide, [definition(wide, "widgets", "Widget", scope="Namespaced")], [], kinds=kinds)
    await wide.deploy("dev")
    role = world.admin.get(world.admin.resource(f"{RBAC}/v1", "ClusterRole"), group(world))
    assert role is not None
    world.admin.replace({**role, "rules": role["rules"][:1]}, manager="admin")
    _push(wide, [], [], kinds=kinds, prune=[_confirmation(wide)])
    presenter = Recorder()

    plan = await plan_order(presenter, world.host, "dev")

    assert _item(plan, DEFINITION).reason.startswith("kept: not all objects of its kind can be seen")
    rows = presenter.report("permissions").tables[0].rows
    assert ("list", f"widgets.{group(world)}", "(in the whole cluster)") in rows
