"""What happens between a plan and its writes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.cd.walk import decide, opened
from interlock.cd import foreign
from interlock.cd.objects import identify
from interlock.cd.order import Stage
from interlock.cd.plan import Action
from interlock.errors import ClusterError, Conflict
from tasks.cd import apply, lease
from tasks.cd.cluster import CONNECTIONS
from tests.cluster.worlds import Recorder, World, config_map


async def test_what_appeared_since_the_plan_is_left_as_it_was(world: World) -> None:
    """Server-side apply would merge into a stranger's object; it is found out, and ours is taken back."""
    world.push_objects("c", config_map("c", {"ours": "1"}))
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        theirs = config_map("c", {"theirs": "1"})
        theirs["metadata"]["namespace"] = world.namespace
        world.admin.create(theirs, manager="somebody")
        inventory = apply.intents(decision.plan, decision.stored.inventory, decision.scope)
        items = tuple(i for i in decision.plan.having(Action.CREATE) if i.identity.name == "c")
        stage = Stage("x", items)
        with lease.held(site.cluster, namespace=world.control, name=world.manager, who="test") as lock:
            written = apply.apply_stage.fn(
                site.cluster, stage, name="x", inventory=inventory, scope=decision.scope, lock=lock
            )

    (refused,) = written.refused.values()
    assert isinstance(refused, Conflict)
    assert "appeared since the plan" in refused.message

    live = world.get("ConfigMap", "c")
    assert live is not None
    assert live["data"] == {"theirs": "1"}
    assert "labels" not in live["metadata"]


async def test_what_is_removed_is_what_was_looked_at(world: World) -> None:
    """A patch that was made for an older version is refused by the server; made anew, it takes away just the same."""
    world.push_objects("c", config_map("c", {"ours": "1"}))
    await world.deploy()
    path = world.path("configmaps", "c")
    world.merge(path, {"data": {"foreign": "1"}})
    old = world.get("ConfigMap", "c")
    assert old is not None
    patch = foreign.removal_patch(old, [foreign.Unexplained(("data", "foreign"), "1")])
    world.merge(path, {"metadata": {"annotations": {"moved": "on"}}})
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        with pytest.raises(ClusterError) as refused:
            site.cluster.patch(identify(old), patch, manager=world.manager)

    assert refused.value.status == 422
    assert (await world.resync()).said == "drift undone"
    live = world.get("ConfigMap", "c")
    assert live is not None
    assert live["data"] == {"ours": "1"}


async def test_the_lock_is_renewed_while_every_writer_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that the server does not answer for long leave one connection free: it is the lock's."""
    monkeypatch.setattr("tasks.cd.cluster.PATIENCE", 0)  # a watch's end is no answer in JSON, and not to be repeated
    await world.deploy()
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        watch = {"watch": "true", "timeoutSeconds": "12", "fieldSelector": "metadata.name=none"}
        path = site.cluster.resource("apps/v1", "Deployment").path(world.namespace)
        with (
            lease.held(site.cluster, namespace=world.control, name=world.manager, who="test") as lock,
            ThreadPoolExecutor(CONNECTIONS) as writers,
        ):
            waiting = [writers.submit(site.cluster.request, "GET", path, query=watch) for _ in range(CONNECTIONS)]
            await asyncio.sleep(1)  # all of them have their connection by now

            await asyncio.to_thread(lock.renew)

            assert not any(each.done() for each in waiting)
