"""An object that Git moves from one owner to another is handed over: the same object, never deleted."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass, field

import pytest
import yaml

from flows.cd.deploy import deploy_order
from flows.cd.plan import plan_order
from interlock.cd.control import Subject, control_manifests
from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Plan
from interlock.cd.record import part_of
from interlock.contract import layout
from interlock.errors import Blocked
from tasks.cd import record
from tests.cluster import killed
from tests.cluster.test_faults import _free
from tests.cluster.worlds import (
    USER,
    Recorder,
    World,
    config_map,
    deployment,
    everything,
    manifest_path,
    new_id,
    service,
    wait_for_rights,
)
from tests.killed import exit_code

PATIENT_SECONDS = 90
"""No test here is about what is not healthy; on a busy machine a Deployment's controller may come late."""


@dataclass
class Pair:
    """Environments `dev` and `prod` of one cluster. `shared` is a namespace that either may have."""

    world: World
    own: str
    """The namespace that `prod` always has."""
    shared: str
    prod_id: str
    seen: set[str] = field(default_factory=lambda: {manifest_path("base")})
    """Files that a push may remove."""

    def push(self, *, owner: str, objects: str = "", tombstone: bool = False, allow: str = "") -> str:
        """`shared` with the objects in it belongs to `owner` from this commit on."""
        world = self.world
        spaces = {"dev": [world.namespace], "prod": [self.own]}
        files: dict[str, str | None] = {}
        for name, identifier in (("dev", world.environment_id), ("prod", self.prod_id)):
            mine = [*spaces[name], self.shared] if name == owner else spaces[name]
            file = {"format": 1, "id": identifier, "cluster": "sandbox", "namespaces": mine}
            file["health_seconds"] = PATIENT_SECONDS
            if tombstone and name == "dev":
                file |= {"state": "removed", "namespaces": [world.namespace, self.shared]}
            if allow and name == "dev":
                file["allow"] = {"changes": allow, "reason": "the environment is given up"}
            files[layout.environment(name)] = yaml.safe_dump(file)
            files[f"environments/{name}/shop/manifests/moved.yaml"] = (objects or None) if name == owner else None
        if tombstone:
            files[manifest_path("base")] = None
        return world.push({path: text for path, text in files.items() if text or path in self.seen})

    async def deploy(self, environment: str) -> str:
        return (await deploy_order(Recorder(), self.world.host, environment)).said

    async def plan(self, environment: str) -> Plan:
        return await plan_order(Recorder(), self.world.host, environment)

    def live(self, kind: str, name: str, api_version: str = "v1") -> Body:
        found = self.world.get(kind, name, api_version, self.shared)
        assert found is not None
        return found

    def owned(self, environment: str) -> set[str]:
        identifier, control = self.identity(environment)
        stored = record.read_stored.fn(self.world.admin, control_namespace=control, environment_id=identifier)
        return {i.name for i in stored.inventory.entries if i.namespace == self.shared}

    def identity(self, environment: str) -> tuple[str, str]:
        if environment == "dev":
            return self.world.environment_id, self.world.control
        return self.prod_id, f"{self.own}-control"

    def is_of(self, body: Body, environment: str) -> bool:
        """Label and claims are this environment's, and no other one's of ours."""
        identifier, control = self.identity(environment)
        managers = {e["manager"] for e in body["metadata"]["managedFields"] if e["manager"].startswith("interlock-")}
        mine = body["metadata"]["labels"][PART_OF] == part_of(identifier, control)
        return mine and managers == {f"interlock-{identifier}"}


@pytest.fixture
def pair(world: World) -> Pair:
    """Both environments, each in its own namespace; nothing is in `shared`."""
    found = Pair(world, f"{world.namespace}-p", f"{world.namespace}-s", new_id())
    subject = Subject("User", USER)
    for control, spaces in (
        (world.control, [world.namespace, found.shared]),
        (f"{found.own}-control", [found.own, found.shared]),
    ):
        for body in control_manifests(
            control_namespace=control, namespaces=spaces, subject=subject, reach=everything(world.admin)
        ):
            world.admin.apply(body, manager="admin")
    kubeconfig = world.host.clusters["sandbox"].kubeconfig
    wait_for_rights(kubeconfig, f"{found.own}-control", found.own, found.shared)
    config = yaml.safe_load(world.config.read_text())
    config["environments"] = {
        "dev": {**config["environments"]["dev"], "namespaces": [world.namespace, found.shared]},
        "prod": {
            "cluster": "sandbox",
            "namespaces": [found.own, found.shared],
            "control_namespace": f"{found.own}-control",
        },
    }
    world.config.write_text(json.dumps(config))
    base = {manifest_path("base").replace("/dev/", "/prod/"): yaml.safe_dump(config_map("base", {"a": "1"}))}
    file = {"format": 1, "id": found.prod_id, "cluster": "sandbox", "namespaces": [found.own]}
    file["health_seconds"] = PATIENT_SECONDS
    world.push({layout.environment("prod"): yaml.safe_dump(file), **base})
    return found


def _objects(pair: Pair, *bodies: Body) -> str:
    placed = [{**body, "metadata": {**body["metadata"], "namespace": pair.shared}} for body in bodies]
    return yaml.safe_dump_all(placed)


# within an environment -------------------------------------------------------------------------------


async def test_an_object_moves_between_applications_in_one_commit(world: World) -> None:
    """The inventory notes the new application; UID and nonce stay, and nothing is pruned."""
    world.push_objects("c", config_map("c", {"a": "1"}), service("s"))
    await world.deploy()
    before = {identity.name: entry for identity, entry in world.inventory().entries.items()}
    moved = yaml.safe_dump_all([config_map("c", {"a": "1"}), service("s")])
    world.push({manifest_path("c"): None, "environments/dev/mail/manifests/c.yaml": moved})

    outcome = await world.deploy()

    assert outcome.counts == {}
    after = {identity.name: entry for identity, entry in world.inventory().entries.items()}
    assert {name: entry.application for name, entry in after.items()} == {"base": "shop", "c": "mail", "s": "mail"}
    assert {n: (e.uid, e.nonce) for n, e in after.items()} == {n: (e.uid, e.nonce) for n, e in before.items()}


# between environments --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("dev", "prod", "dev"), ("prod", "dev")])
async def test_objects_move_between_environments_in_one_commit(pair: Pair, order: tuple[str, ...]) -> None:
    """Whichever runs first: the same objects, then of the new environment alone by label, claims and inventory."""
    objects = _objects(pair, deployment(), service(), config_map("c", {"a": "1", "b": "2"}))
    pair.push(owner="dev", objects=objects)
    await pair.deploy("dev")
    await pair.deploy("prod")
    kinds = (("Deployment", "web", "apps/v1"), ("Service", "web", "v1"), ("ConfigMap", "c", "v1"))
    before = {kind: pair.live(*kind)["metadata"] for kind in kinds}
    assert all(pair.is_of(pair.live(*kind), "dev") for kind in kinds)
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, deployment(), service(), config_map("c", {"a": "3"})))

    for environment in order:
        await pair.deploy(environment)

    for kind in kinds:
        live = pair.live(*kind)
        assert live["metadata"]["uid"] == before[kind]["uid"]
        assert live["metadata"]["annotations"][NONCE] != before[kind]["annotations"][NONCE]
        assert pair.is_of(live, "prod")
    assert pair.live("ConfigMap", "c")["data"] == {"a": "3"}
    assert (pair.owned("dev"), pair.owned("prod")) == (set(), {"web", "c"})
    for environment in ("dev", "prod"):
        plan = await pair.plan(environment)
        assert plan.empty
        assert not plan.drifted


async def test_a_namespace_moves_with_what_is_in_it(pair: Pair) -> None:
    """The Namespace that Git declares goes over too: it is never deleted, and the old inventory forgets it."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pair.shared, "labels": {"team": "a"}}}
    objects = f"{yaml.safe_dump(namespace)}---\n{_objects(pair, config_map('c', {}))}"
    pair.push(owner="dev", objects=objects)
    await pair.deploy("dev")
    before = pair.world.get("Namespace", pair.shared)
    assert before is not None
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=objects)

    for environment in ("dev", "prod", "dev"):
        await pair.deploy(environment)

    after = pair.world.get("Namespace", pair.shared)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]
    assert pair.is_of(after, "prod")
    assert pair.owned("dev") == set()
    assert [item.identity.kind for item in (await pair.plan("dev")).kept] == []


async def test_a_tombstone_hands_over_what_another_environment_gets(pair: Pair) -> None:
    """Removed in the same commit in which another one gets its namespace: what that names goes over, the rest goes."""
    pair.push(owner="dev", objects=_objects(pair, service(), config_map("c", {})))
    await pair.deploy("dev")
    uid = pair.live("Service", "web")["metadata"]["uid"]
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    objects = _objects(pair, service(), config_map("c", {}))
    pair.push(owner="prod", objects=objects, tombstone=True)
    with pytest.raises(Blocked, match="1 of 3 objects would be deleted: the environment is to be removed"):
        await pair.deploy("dev")
    await pair.deploy("prod")
    mark = (await pair.plan("dev")).mark
    pair.push(owner="prod", objects=objects, tombstone=True, allow=mark)

    assert await pair.deploy("dev") == "removed"

    assert pair.live("Service", "web")["metadata"]["uid"] == uid
    assert pair.is_of(pair.live("Service", "web"), "prod")
    assert (pair.owned("dev"), pair.owned("prod")) == (set(), {"web", "c"})


async def test_what_the_new_environment_does_not_name_stays(pair: Pair) -> None:
    """The namespace went over, one of its objects is in no Git: it stays where it is, and both plans say so."""
    pair.push(owner="dev", objects=_objects(pair, config_map("c", {}), config_map("left", {})))
    await pair.deploy("dev")
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, config_map("c", {})))

    await pair.deploy("prod")
    await pair.deploy("dev")

    assert pair.live("ConfigMap", "left")
    kept = {item.identity.name: item.reason for item in (await pair.plan("dev")).kept}
    assert kept == {
        "left": f"kept: the namespace {pair.shared} is environment prod's now, which takes what its Git names"
    }
    foreign = [item for item in (await pair.plan("prod")).drifted if item.identity.name == "left"]
    assert foreign


async def test_a_strangers_object_with_a_neighbours_label_is_not_handed_over(pair: Pair) -> None:
    """Label and field manager are claims that anybody can forge; the neighbour's inventory is the proof."""
    pair.push(owner="dev", objects=_objects(pair, config_map("c", {})))
    await pair.deploy("dev")
    forged = config_map("forged", {"x": "theirs"})
    label = pair.live("ConfigMap", "c")["metadata"]["labels"][PART_OF]
    forged["metadata"] |= {"namespace": pair.shared, "labels": {PART_OF: label}}
    pair.world.admin.apply(forged, manager=pair.world.manager)
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, config_map("c", {}), config_map("forged", {"x": "ours"})))

    with pytest.raises(Blocked, match="exists and is not ours"):
        await pair.deploy("prod")

    assert pair.live("ConfigMap", "forged")["data"] == {"x": "theirs"}


@pytest.mark.parametrize("point", ["after write inventory 1", "write 1", "write 2", "before write inventory 2"])
async def test_a_hand_over_survives_a_kill(pair: Pair, point: str) -> None:
    """Killed anywhere in the new environment's run, with the old one running in between: the same objects."""
    pair.push(owner="dev", objects=_objects(pair, service(), config_map("c", {"a": "1"})))
    await pair.deploy("dev")
    before = {name: pair.live(kind, name)["metadata"]["uid"] for kind, name in (("Service", "web"), ("ConfigMap", "c"))}
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, service(), config_map("c", {"a": "2"})))

    assert exit_code(killed.run, str(pair.world.config), point, "prod") == -signal.SIGKILL
    _free_prod(pair)
    await pair.deploy("dev")
    await pair.deploy("prod")
    await pair.deploy("dev")

    after = {name: pair.live(kind, name) for kind, name in (("Service", "web"), ("ConfigMap", "c"))}
    assert {name: body["metadata"]["uid"] for name, body in after.items()} == before
    assert all(pair.is_of(body, "prod") for body in after.values())
    assert (pair.owned("dev"), pair.owned("prod")) == (set(), {"web", "c"})


def _free_prod(pair: Pair) -> None:
    world = World(**{**pair.world.__dict__, "environment_id": pair.prod_id, "namespace": pair.own})
    _free(world)


async def test_an_old_run_that_writes_late_leaves_no_claims(pair: Pair) -> None:
    """The old environment's run was slow and applied once more: label and claims are the new one's again."""
    pair.push(owner="dev", objects=_objects(pair, config_map("c", {"a": "1"})))
    await pair.deploy("dev")
    late = {**pair.live("ConfigMap", "c")}
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, config_map("c", {"a": "1"})))
    await pair.deploy("prod")
    metadata = {key: late["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": late["data"]}
    pair.world.admin.apply(body, manager=pair.world.manager, force=True)

    await pair.deploy("prod")

    assert pair.is_of(pair.live("ConfigMap", "c"), "prod")
    assert (await pair.plan("prod")).empty


async def test_both_environments_at_once(pair: Pair) -> None:
    """The two runs of one push at the same time: no object is deleted, and in the end each knows its own."""
    pair.push(owner="dev", objects=_objects(pair, service(), config_map("c", {})))
    await pair.deploy("dev")
    uid = pair.live("Service", "web")["metadata"]["uid"]
    pair.seen.add("environments/dev/shop/manifests/moved.yaml")
    pair.push(owner="prod", objects=_objects(pair, service(), config_map("c", {})))

    await asyncio.gather(pair.deploy("dev"), pair.deploy("prod"))
    await pair.deploy("dev")

    assert pair.live("Service", "web")["metadata"]["uid"] == uid
    assert (pair.owned("dev"), pair.owned("prod")) == (set(), {"web", "c"})
