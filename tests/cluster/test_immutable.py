"""Fields that never change are found before anything is written; recreated is only what policy names."""

from __future__ import annotations

from contextlib import suppress

import pytest

from flows.cd.walk import decide, opened
from interlock.cd.objects import Body
from interlock.cd.plan import Action, PlanItem
from interlock.cd.record import Record
from interlock.errors import Blocked, Unhealthy
from tasks.cd import apply, lease, record
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment, secret, service


def binding(role: str, name: str = "readers") -> Body:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "User", "name": "ada", "apiGroup": "rbac.authorization.k8s.io"}],
    }


def role(name: str) -> Body:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    metadata = {"name": name}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}


def job(command: str, *, suspend: bool = True) -> Body:
    resources = {"requests": {"cpu": "1m", "memory": "1Mi"}}
    container = {"name": "run", "image": IMAGE, "command": [command], "resources": resources}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    spec = {"template": template, "suspend": suspend, "backoffLimit": 0}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run"}, "spec": spec}


def fixed_map(value: str) -> Body:
    return {**config_map("fixed", {"a": value}), "immutable": True}


def fixed_secret(value: str) -> Body:
    return {**secret("fixed", {"a": value}), "immutable": True}


def claim(access: str, size: str = "1Mi") -> Body:
    spec = {"accessModes": [access], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def stateful(service_name: str) -> Body:
    body = deployment("db")
    spec = {**body["spec"], "serviceName": service_name}
    return {**body, "kind": "StatefulSet", "spec": spec}


def pinned(address: str) -> Body:
    body = service("pinned")
    return {**body, "spec": {**body["spec"], "clusterIP": address}}


def other_selector() -> Body:
    body = deployment()
    body["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    return body


def _only(items: tuple[PlanItem, ...], kind: str) -> PlanItem:
    (item,) = (item for item in items if item.identity.kind == kind)
    return item


CASES = {
    "Deployment": (deployment(), other_selector(), "spec.selector of a Deployment never changes"),
    "StatefulSet": (stateful("one"), stateful("two"), "spec.serviceName of a StatefulSet never changes"),
    "Job": (job("one"), job("two"), "spec.template.spec.containers[name=run].command of a Job never changes"),
    "ConfigMap": (fixed_map("1"), fixed_map("2"), "data.a of a ConfigMap never changes"),
    "Secret": (fixed_secret("1"), fixed_secret("2"), "data.a of a Secret never changes"),
    "PersistentVolumeClaim": (
        claim("ReadWriteOnce"),
        claim("ReadWriteMany"),
        "spec.accessModes of a PersistentVolumeClaim never changes",
    ),
    "Service": (service("pinned"), pinned("None"), "spec.clusterIP of a Service never changes"),
    "RoleBinding": (binding("one"), binding("two"), "roleRef of a RoleBinding never changes"),
}
RECREATED = ("Job", "ConfigMap", "Secret", "Service", "RoleBinding")


@pytest.mark.parametrize("kind", CASES)
async def test_the_table_and_the_server_agree(impatient_world: World, kind: str) -> None:
    """What the table calls immutable the server refuses, and the commit is blocked with the field and what to do."""
    world = impatient_world
    before, after, told = CASES[kind]
    extra = [role("one"), role("two")] if kind == "RoleBinding" else []
    world.push_objects("x", *extra, before)
    await _begun(world)

    world.push_objects("x", *extra, after)
    item = _only((await world.plan()).stops, kind)

    assert item.action == Action.IMMUTABLE
    assert item.reason.startswith(told), item.reason
    assert ("recreate: [" in item.reason) == (kind in RECREATED)
    assert all(field.kind == "change" for field in item.fields)
    with pytest.raises(Exception, match=r"\(422\)|HTTP 422|immutable|cannot change|may not"):
        world.admin.apply(
            {**after, "metadata": {**after["metadata"], "namespace": world.namespace}},
            manager=world.manager,
            force=True,
            dry_run=True,
        )


async def _begun(world: World) -> None:
    """Deployed; a claim without a provisioner does not become healthy, and that is not what this is about."""
    with suppress(Unhealthy):
        await world.deploy()


@pytest.mark.parametrize("kind", RECREATED)
async def test_recreated_by_policy(world: World, kind: str) -> None:
    """The kinds with which nothing is lost: another UID, Git's value, ours by inventory and label."""
    before, after, told = CASES[kind]
    extra = [role("one"), role("two")] if kind == "RoleBinding" else []
    world.decide(recreate=[kind])
    world.push_objects("x", *extra, before)
    await world.deploy()
    old = next(e.uid for i, e in world.inventory().entries.items() if i.kind == kind and i.name == _name(before))

    world.push_objects("x", *extra, after)
    item = _only((await world.plan()).having(Action.CHANGE), kind)
    assert item.recreated
    assert item.reason == f"recreated: {told}"
    await world.deploy()

    new = next(e for i, e in world.inventory().entries.items() if i.kind == kind and i.name == _name(before))
    assert new.uid != old
    assert not new.adopted
    assert (await world.plan()).empty


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


async def test_a_running_job_is_not_cut_off(impatient_world: World) -> None:
    """Policy or not: it is recreated when it has ended."""
    world = impatient_world
    world.decide(recreate=["Job"])
    world.push_objects("x", job("one", suspend=False))
    await _begun(world)
    world.push_objects("x", job("two", suspend=False))

    item = _only((await world.plan()).stops, "Job")

    assert "while it runs" in item.reason


async def test_a_new_object_that_the_server_refuses_costs_no_old_one(world: World) -> None:
    """A binding to a Role with rights that CD has not: blocked, and the old binding stays."""
    too_much = role("two")
    too_much["rules"][0]["resources"] = ["pods/exec"]
    too_much["metadata"]["namespace"] = world.namespace
    world.admin.create(too_much, manager="admin")
    world.decide(recreate=["RoleBinding"])
    world.push_objects("x", role("one"), binding("one"))
    await world.deploy()
    world.push_objects("x", role("one"), binding("two"))

    with pytest.raises(Blocked, match="attempting to grant"):
        await world.deploy()

    live = world.get("RoleBinding", "readers", "rbac.authorization.k8s.io/v1")
    assert live is not None
    assert live["roleRef"]["name"] == "one"


@pytest.mark.parametrize("step", ["nothing", "deleted", "made"])
async def test_a_recreation_that_was_killed_is_ended_by_the_next_run(world: World, step: str) -> None:
    """After the intent, after the deletion, or after the new object was made: one object, ours, as Git says."""
    world.decide(recreate=["ConfigMap"])
    world.push_objects("x", fixed_map("1"))
    await world.deploy()
    world.push_objects("x", fixed_map("2"))
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        inventory = apply.intents(decision.plan, decision.stored.inventory, decision.scope)
        known = decision.stored.record
        assert known is not None
        now = Record(decision.environment.id, decision.commit, known.deployed, decision.commit, known.shards)
        mark = decision.mark.ahead(known, verified=decision.commit)
        record.write_mark(site.host.state, site.name, mark)
        record.write_inventory.fn(world.admin, decision.stored, inventory, now)
        item = _only(decision.plan.having(Action.CHANGE), "ConfigMap")
        with lease.held(site.cluster, namespace=world.control, name="x", who="test") as lock:
            if step == "deleted":
                apply._make_room(site.cluster, item, decision.scope, lock)
            if step == "made":
                apply._apply_one(site.cluster, item, inventory=inventory, scope=decision.scope, lock=lock)

    await world.deploy()

    live = world.get("ConfigMap", "fixed")
    assert live is not None
    assert live["data"] == {"a": "2"}
    entry = next(e for i, e in world.inventory().entries.items() if i.name == "fixed")
    assert (entry.uid, entry.adopted) == (live["metadata"]["uid"], False)
    assert (await world.plan()).empty
