"""A plan that was looked at is applied as it was, or not at all."""

from __future__ import annotations

import json

import pytest

from flows.cd.deploy import deploy_order
from interlock.cd import plan_report, reviewed
from interlock.cd.plan import Action
from interlock.cd.reviewed import Reviewed
from interlock.errors import Blocked, PlanMoved
from tests.cluster.worlds import Recorder, World, config_map, secret


async def _looked_at(world: World) -> Reviewed:
    """As the command line writes it and reads it again."""
    report = plan_report.report(await world.plan())
    return reviewed.read(json.dumps([{"report": "plan", "title": report.title, "data": report.data}]), path="plan.json")


async def _sync(world: World, plan: Reviewed) -> str:
    return (await deploy_order(Recorder(), world.host, "dev", reviewed=plan)).said


async def test_what_was_looked_at_is_applied(world: World) -> None:
    """Nothing moved in between."""
    world.push_objects("c", config_map("c", {"a": "1"}))

    assert await _sync(world, await _looked_at(world)) == "deployed"

    assert world.get("ConfigMap", "c") is not None


async def test_a_newer_commit_is_not_what_was_looked_at(world: World) -> None:
    """Nothing is written, and what came is named."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    plan = await _looked_at(world)
    world.push_objects("d", config_map("d", {"a": "1"}))

    with pytest.raises(Blocked, match="moved since") as caught:
        await _sync(world, plan)

    assert f"new: create ConfigMap/{world.namespace}/d" in caught.value.reasons
    assert any("the branch is at" in reason for reason in caught.value.reasons)
    assert world.get("ConfigMap", "c") is None


async def test_a_cluster_that_moved_is_not_what_was_looked_at(world: World) -> None:
    """A field that somebody changed in between is named with both values."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.push_objects("d", config_map("d", {"a": "1"}))
    plan = await _looked_at(world)
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}})

    with pytest.raises(Blocked) as caught:
        await _sync(world, plan)

    assert f"new: change ConfigMap/{world.namespace}/c: data.a: theirs → 1" in caught.value.reasons
    assert world.get("ConfigMap", "d") is None


async def test_an_object_that_was_made_again_is_not_what_was_looked_at(world: World) -> None:
    """The same name and the same difference, and another UID: the plan has moved, and says so."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "2"}))
    plan = await _looked_at(world)
    live = world.get("ConfigMap", "c")
    assert live is not None
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    world.delete(world.path("configmaps", "c"))
    world.admin.apply({**live, "metadata": metadata}, manager=world.manager)
    assert any(item.uid != live["metadata"]["uid"] for item in (await world.plan()).having(Action.CHANGE))

    with pytest.raises(PlanMoved) as caught:
        await _sync(world, plan)

    uid = live["metadata"]["uid"]
    assert f"no more: change ConfigMap/{world.namespace}/c (the object {uid})" in caught.value.reasons


async def test_a_secret_is_applied_as_it_was_looked_at(world: World) -> None:
    """Its masks differ from run to run, and the plan is the same; when somebody writes it in between, it is not."""
    world.push_objects("s", secret("s", {"password": "hunter2"}))
    await world.deploy()
    world.push_objects("s", secret("s", {"password": "correct-horse"}))
    plan = await _looked_at(world)
    assert (await world.plan()).digest == plan.digest
    world.merge(world.path("secrets", "s"), {"metadata": {"labels": {"x": "y"}}})

    with pytest.raises(Blocked, match="moved since"):
        await _sync(world, plan)

    world.merge(world.path("secrets", "s"), {"metadata": {"labels": {"x": None}}})
    assert await _sync(world, await _looked_at(world)) == "deployed"
