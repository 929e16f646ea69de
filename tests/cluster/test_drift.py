"""Somebody changes the cluster by hand; the next resync finds it, and undoes or reports it."""

from __future__ import annotations

import asyncio
import time

import pytest

from flows.cd import removal
from interlock.cd import plan_report
from interlock.cd.objects import Body
from interlock.cd.plan import Action
from interlock.contract import layout
from interlock.contract.report import Report
from interlock.errors import Blocked, InputError, Refused, Unhealthy
from tests.cluster.test_order import application
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment, manifest_path, service


def _rows(report: Report) -> dict[str, tuple[str, ...]]:
    """A drift report by object and field: in Git, live, who, decision. The time is checked apart."""
    rows = [row for table in report.tables for row in table.rows]
    assert all(row[5].removeprefix("before ").endswith("Z") for row in rows)
    return {f"{row[0].split('/')[-1]} {row[1]}": (row[2], row[3], row[4], row[6]) for row in rows}


async def _tampered(world: World) -> None:
    """The four things that issue A's demo does by hand."""
    world.push_objects("web", deployment(), service())
    await world.deploy()
    path = world.path("deployments", "web", "apps/v1")
    world.merge(f"{path}/scale", {"spec": {"replicas": 3}}, manager="kubectl-scale")
    variable = {"name": "web", "env": [{"name": "DEBUG", "value": "1"}]}
    world.merge(path, {"spec": {"template": {"spec": {"containers": [variable]}}}}, manager="kubectl-set")
    container = {"name": "miner", "image": IMAGE, "command": ["mine"]}
    world.merge(path, {"spec": {"template": {"spec": {"containers": [container]}}}}, manager="kubectl-patch")
    world.delete(world.path("services", "web"))


async def test_four_manipulations_are_found_and_undone(world: World) -> None:
    """Scale and deletion are put back; a new variable and a container are one entry each, and removed."""
    await _tampered(world)

    presenter = Recorder()
    outcome = await world.resync(presenter)

    assert (outcome.said, outcome.counts) == ("drift undone", {"create": 1, "change": 1})
    rows = _rows(presenter.report("drift"))
    container = "spec.template.spec.containers"
    assert rows.keys() == {
        "web whole object",
        "web spec.replicas",
        f"web {container}[name=web].env[name=DEBUG]",
        f"web {container}[name=miner]",
    }
    assert rows["web whole object"] == ("exists", "deleted", "unknown", "undone")
    assert rows["web spec.replicas"] == ("0", "3", "kubectl-scale", "undone")
    assert rows[f"web {container}[name=web].env[name=DEBUG]"] == (
        "—",
        '{"name": "DEBUG", "value": "1"}',
        "kubectl-set",
        "removed",
    )
    assert rows[f"web {container}[name=miner]"][2:] == ("kubectl-patch", "removed")
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    assert live["spec"]["replicas"] == 0
    (left,) = live["spec"]["template"]["spec"]["containers"]
    assert (left["name"], left["env"]) == ("web", [{"name": "GREETING", "value": "hello"}])
    assert (await world.resync()).said == "in sync"
    made = world.get("Service", "web")
    assert made is not None
    uids = {i.kind: entry.uid for i, entry in world.inventory().entries.items()}
    assert uids["Service"] == made["metadata"]["uid"]


async def test_foreign_things_are_told_to_the_ledger_once(world: World) -> None:
    """Each resync shows what stays; the ledger hears of the same drift once, and nothing is written."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    _hold(world, "c")
    stranger = config_map("theirs", {"x": "y"})
    stranger["metadata"]["namespace"] = world.namespace
    world.admin.create(stranger, manager="somebody")
    for _ in range(2):
        presenter = Recorder()
        assert (await world.resync(presenter)).said == "in sync"
        assert presenter.report("drift").title == "Drift in dev: 2 found, 0 undone, 2 only reported"
        assert "take the lock" not in presenter.steps

    assert [kind for kind, _ in world.receipts()] == ["intent", "result", "drift"]


def _hold(world: World, name: str) -> None:
    """A finalizer on a ConfigMap, as an opponent or another controller would set it."""
    world.merge(world.path("configmaps", name), {"metadata": {"finalizers": ["example.org/hold"]}}, manager="holder")


async def test_a_finalizer_is_told_of_and_stays(world: World) -> None:
    """It decides when the object may go: that is not for an undo to change, though what else is foreign goes."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    _hold(world, "c")
    world.merge(world.path("configmaps", "c"), {"metadata": {"labels": {"x/y": "z"}}, "data": {"more": "m"}})

    presenter = Recorder()
    assert (await world.resync(presenter)).said == "drift undone"

    found = {key: row[3] for key, row in _rows(presenter.report("drift")).items()}
    assert found == {
        "c metadata.finalizers": "foreign",
        'c metadata.labels["x/y"]': "removed",
        "c data.more": "removed",
    }
    live = world.get("ConfigMap", "c")
    assert live is not None
    assert (live["data"], live["metadata"]["finalizers"]) == ({"a": "1"}, ["example.org/hold"])
    assert "x/y" not in live["metadata"]["labels"]
    world.merge(world.path("configmaps", "c"), {"metadata": {"finalizers": None}}, manager="holder")


async def test_what_was_there_before_us_keeps_what_others_gave_it(world: World) -> None:
    """The environment's Namespace has labels of the administrator: they are told of, and stay."""
    path = f"/api/v1/namespaces/{world.namespace}"
    world.merge(path, {"metadata": {"labels": {"admins.example/tier": "gold"}}}, manager="admin")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}
    world.push_objects("namespace", namespace)
    await world.deploy()

    presenter = Recorder()
    assert (await world.resync(presenter)).said == "in sync"

    assert [row[3] for row in _rows(presenter.report("drift")).values()] == ["foreign"]
    live = world.admin.request("GET", path)
    assert live["metadata"]["labels"]["admins.example/tier"] == "gold"


async def test_what_only_an_autoscaler_in_git_may_choose(impatient_world: World) -> None:
    """Replicas that Git does not name belong to the autoscaler that Git names; to one that it does not, they do not."""
    world, web = impatient_world, deployment()
    del web["spec"]["replicas"]
    world.push_objects("web", web, _autoscaler())
    with pytest.raises(Unhealthy):  # there is no node to run a replica
        await world.deploy()
    path = world.path("deployments", "web", "apps/v1")
    world.merge(f"{path}/scale", {"spec": {"replicas": 3}}, manager="kube-controller-manager")

    assert (await world.plan()).drifted == ()
    world.push_objects("web", web)

    (item,) = (await world.plan()).having(Action.CHANGE)
    assert [(field.path, field.kind) for field in item.fields] == [("spec.replicas", "removed")]


def _autoscaler() -> Body:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": spec,
    }


async def test_stripped_claims_hide_nothing(world: World) -> None:
    """An opponent who removes managedFields is found all the same, by the fields themselves."""
    await _tampered(world)
    path = world.path("deployments", "web", "apps/v1")
    world.admin._exchange(
        "PATCH",
        path,
        query={},
        body=[{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}],
        content="application/json-patch+json",
        subject=path,
    )

    presenter = Recorder()
    await world.resync(presenter)

    rows = _rows(presenter.report("drift"))
    assert rows["web spec.replicas"] == ("0", "3", "unknown", "undone")
    assert rows["web spec.template.spec.containers[name=miner]"][2:] == ("unknown", "removed")
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    assert [c["name"] for c in live["spec"]["template"]["spec"]["containers"]] == ["web"]


async def test_an_observing_environment_is_only_looked_at(observing_world: World) -> None:
    """With `drift: observe` the same things are reported, and the cluster stays as somebody made it."""
    world = observing_world
    await _tampered(world)

    presenter = Recorder()
    outcome = await world.resync(presenter)

    assert outcome.said == "drift observed"
    assert _rows(presenter.report("drift"))["web spec.replicas"] == ("0", "3", "kubectl-scale", "observed")
    assert "take the lock" not in presenter.steps
    assert world.get("Service", "web") is None
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    assert live["spec"]["replicas"] == 3


async def test_an_observing_environment_finishes_its_own_deletions(
    observing_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Git dropped and did not go in time goes with a later run, though the commit is deployed; what somebody
    changed meanwhile stays as he made it.
    """
    world = observing_world
    monkeypatch.setattr(removal, "PRUNE_SECONDS", 1)
    world.push_objects("web", deployment(), config_map("settings", {"a": "1"}))
    await world.deploy()
    path = world.path("deployments", "web", "apps/v1")
    world.merge(path, {"metadata": {"finalizers": ["example.org/hold"]}})
    world.remove("web")
    await world.deploy()
    assert (await world.resync()).said == "drift observed" or world.get("ConfigMap", "settings")
    world.merge(path, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.org/hold"]}})
    world.merge(world.path("configmaps", "base"), {"data": {"a": "theirs"}})

    await world.resync()

    assert world.get("ConfigMap", "settings") is None
    assert (await world.resync()).said == "drift observed"
    base = world.get("ConfigMap", "base")
    assert base is not None
    assert base["data"] == {"a": "theirs"}


async def test_an_observing_environment_writes_nothing_beside_what_is_blocked(observing_world: World) -> None:
    """One object that cannot be made again does not let a run make others that somebody deleted."""
    world = observing_world
    world.push(application("web", service()) | application("settings", config_map("settings", {"a": "1"})))
    await world.deploy()
    world.delete(world.path("services", "web"))
    world.delete(world.path("configmaps", "settings"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"count/configmaps": "0"}}}
    world.admin.create({**quota, "metadata": {"name": "none", "namespace": world.namespace}}, manager="admin")
    _await_quota(world)

    with pytest.raises(Blocked, match="exceeded quota"):
        await world.resync()

    assert world.get("Service", "web") is None


def _await_quota(world: World) -> None:
    """Until its controller has counted, nothing at all may be made."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = world.get("ResourceQuota", "none")
        if found and (found.get("status") or {}).get("used"):
            return
        time.sleep(0.2)
    pytest.fail("the quota is not counted")


@pytest.mark.parametrize("name", ["f:x", "v:" + "[" * 2000 + "]" * 2000])
async def test_forged_claims_break_nothing(world: World, name: str) -> None:
    """Somebody who may write an object writes nonsense into our claims: the plan is made, and the object put right."""
    world.push_objects("web", deployment())
    await world.deploy()
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    for entry in live["metadata"]["managedFields"]:
        if entry["manager"] == world.manager:
            entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"] = {name: {}}
    world.admin.replace(live, manager="tenant")

    assert [item.identity.name for item in (await world.plan()).writes] == ["web"]
    await world.resync()
    assert (await world.plan()).empty


async def test_an_observing_environment_does_not_force_a_new_commit(observing_world: World) -> None:
    """A field that another manager took blocks the commit that wants to write it."""
    world = observing_world
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}})
    world.push_objects("c", config_map("c", {"a": "2"}))

    plan = await world.plan()

    assert [(item.action, item.fields[0].manager) for item in plan.stops] == [("conflict", "kubectl-edit")]


async def test_a_stranger_in_the_namespace_is_reported_and_left(world: World) -> None:
    """A foreign object is one entry with its maker; what Kubernetes makes itself is none."""
    await world.deploy()
    stranger = config_map("theirs", {"x": "y"})
    stranger["metadata"]["namespace"] = world.namespace
    world.admin.create(stranger, manager="somebody")

    presenter = Recorder()
    await world.resync(presenter)

    assert _rows(presenter.report("drift")) == {"theirs whole object": ("—", "exists", "somebody", "foreign")}
    assert world.get("ConfigMap", "theirs") is not None


async def test_an_object_that_was_replaced_is_put_right_and_never_pruned(world: World) -> None:
    """Deleted and made anew by hand: another UID. Its fields are put back; its removal needs a signed word."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.delete(world.path("configmaps", "c"))
    theirs = config_map("c", {"a": "theirs"})
    theirs["metadata"]["namespace"] = world.namespace
    world.admin.create(theirs, manager="somebody")

    assert (await world.resync()).said == "drift undone"
    assert world.get("ConfigMap", "c")["data"] == {"a": "1"}  # type: ignore[index]
    world.remove("c")
    await world.deploy()

    assert world.get("ConfigMap", "c") is not None
    assert [item.reason for item in (await world.plan()).kept] == [
        "kept: it was there before us, or was replaced by somebody, and goes only by confirmation"
    ]


@pytest.mark.parametrize("bad", ["rewritten", "not a manifest"])
async def test_drift_is_undone_although_the_head_is_no_good(world: World, bad: str) -> None:
    """Somebody's bad push stops deploys, not the upkeep of the verified commit."""
    good = world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    if bad == "rewritten":
        world.force(world.repository.write(world.root, {manifest_path("evil"): b"x: 1\n"}))
    else:
        world.push({manifest_path("evil"): "apiVersion: v1\n"})
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}})

    with pytest.raises((Refused, InputError)):
        await world.resync()

    assert world.get("ConfigMap", "c")["data"] == {"a": "1"}  # type: ignore[index]
    record = world.stored().record
    assert record is not None
    assert record.verified == good


def _await_replica_sets(world: World, count: int) -> None:
    kind, deadline = world.admin.resource("apps/v1", "ReplicaSet"), time.monotonic() + 20
    while len(world.admin.list(kind, world.namespace)) < count and time.monotonic() < deadline:
        time.sleep(0.1)


async def test_every_object_in_the_namespace_is_accounted_for(world: World) -> None:
    """Managed, derived by a chain of owners with their UIDs, allowed by the environment's policy, or foreign: the
    foreign ones by what they could do, with a forged owner too.
    """
    rule = "allowed_objects: [{kind: ConfigMap, name: mesh-*, reason: the mesh puts it there}]\n"
    text = (
        f'format: 1\nid: "{world.environment_id}"\ncluster: sandbox\nnamespaces: [{world.namespace}]\n'
        "health_seconds: 20\n"
    )
    world.push({layout.environment("dev"): text + rule})
    world.push_objects("web", deployment())
    await world.deploy()
    web = world.get("Deployment", "web", "apps/v1")
    assert web is not None
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": web["metadata"]["uid"]}
    binding: Body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "evil"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    forged = config_map("forged", {})
    forged["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    for body in (forged, binding, config_map("mesh-ca", {"a": "b"}), deployment("theirs")):
        body["metadata"]["namespace"] = world.namespace
        world.admin.create(body, manager="eve")
    await asyncio.to_thread(_await_replica_sets, world, 2)

    plan = await world.plan()

    foreign = plan_report.report(plan).tree[0].below
    assert [branch.text.split(f"/{world.namespace}/")[1] for branch in foreign] == [
        "evil: not in Git, not ours",
        "theirs: not in Git, not ours; 1 object was made from it",
        "forged: not in Git, not ours",
    ]
    # The Deployment and a ConfigMap of Git; its ReplicaSet, the namespace's own account and authority.
    assert plan.standings == {"managed": 2, "derived": 3, "allowed": 1, "foreign": 4}
