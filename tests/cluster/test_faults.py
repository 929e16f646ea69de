"""CD is killed, its record is lost or turned back, its lock is held: what then holds."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import time
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from flows.cd.walk import LOOKS
from interlock.cd.control import FENCE
from interlock.cd.lock import PROCESS, SECONDS
from interlock.cd.objects import Body, identify, uid
from interlock.errors import Blocked, LockHeld, Refused
from tasks.cd import lease
from tasks.common.effect import Effect
from tasks.common.environment_repository import fetch_verified
from tests.cluster import killed
from tests.cluster.worlds import Recorder, World, config_map, deployment, manifest_path, secret, service
from tests.killed import ended, exit_code, started

P = ParamSpec("P")
R = TypeVar("R")


def _kill(world: World, point: str) -> None:
    assert exit_code(killed.run, str(world.config), point) == -signal.SIGKILL


def _free(world: World) -> None:
    """An administrator frees the dead run's lock; waiting for its end is another test."""
    live = world.get("Lease", world.manager, "coordination.k8s.io/v1", world.control)
    if live:
        world.admin.replace({**live, "spec": {**live["spec"], "holderIdentity": ""}}, manager="admin")


def _owned(world: World) -> dict[str, str]:
    """What lives in the namespace with the environment's label, by kind and name."""
    found: list[Body] = []
    for api_version, kind in (("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "Service"), ("apps/v1", "Deployment")):
        found += world.admin.list(world.admin.resource(api_version, kind), world.namespace)
    ours = [b for b in found if "applyset.kubernetes.io/part-of" in b["metadata"].get("labels", {})]
    return {f"{identify(body).kind} {identify(body).name}": uid(body) for body in ours}


def _inventory(world: World) -> dict[str, str]:
    return {f"{identity.kind} {identity.name}": entry.uid for identity, entry in world.inventory().entries.items()}


POINTS = (
    "before write inventory 1",
    "write 1",
    "write 3",
    "before write inventory 2",
    "before wait until healthy 1",
    "before prune 1",
    "write 5",
    "before write record 1",
    "after write record 1",
)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_and_run_again_converges(world: World, point: str) -> None:
    """Wherever CD dies, the next run ends with exactly Git's objects, an exact inventory, and agreeing records."""
    world.push_objects("old", config_map("old", {"a": "1"}))
    await world.deploy()
    world.remove("old")
    world.push_objects("web", deployment(), service(), secret("s", {"a": "b"}), config_map("c", {"a": "1"}))

    _kill(world, point)
    _free(world)
    await world.deploy()

    live = _owned(world)
    assert live.keys() == {"ConfigMap base", "ConfigMap c", "Secret s", "Service web", "Deployment web"}
    assert _inventory(world) == live
    record, mark = world.stored().record, world.mark()
    assert record is not None
    assert (record.verified, record.deployed, record.pending) == (world.head, world.head, None)
    assert (mark["verified"], mark["deployed"]) == (world.head, world.head)
    assert (await world.plan()).empty


async def test_a_dead_run_of_this_host_is_replaced_at_once(world: World) -> None:
    """After a SIGKILL the next run on the same machine sees that the holder is no more, and waits for nothing."""
    _kill(world, "after take the lock 1")

    presenter = Recorder()
    outcome = await world.deploy(presenter)

    assert outcome.said == "deployed"
    assert not any("held by" in note or "refused" in note for note in presenter.notes)


def _elsewhere(world: World) -> None:
    """As if the lock's holder ran on another machine, with a clock that is an hour fast."""
    live = world.get("Lease", world.manager, "coordination.k8s.io/v1", world.control)
    assert live is not None
    metadata = live["metadata"]
    notes = {**metadata["annotations"], PROCESS: "another-boot/4026531836/0/1/1"}
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {**live, "metadata": {**metadata, "annotations": notes}, "spec": {**live["spec"], "renewTime": later}}
    world.admin.replace(body, manager="admin")


async def test_a_lock_of_another_host_ends_by_itself(world: World) -> None:
    """Its end is measured by our own clock from the last change that we saw; then its holder is fenced off."""
    _kill(world, "after take the lock 1")
    _elsewhere(world)

    presenter = Recorder()
    began = time.monotonic()
    outcome = await world.deploy(presenter)

    assert outcome.said == "deployed"
    assert time.monotonic() - began > SECONDS
    assert any("held by" in note for note in presenter.notes)
    assert any("until its token is refused" in note for note in presenter.notes)


def _state(pid: int) -> str:
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]


async def test_a_run_that_was_stopped_and_overtaken_writes_nothing_more(world: World) -> None:
    """It stops just before a write, past every check of its own; another run takes over; continued, it is refused."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "old"}))
    stopped = started(killed.run, str(world.config), "stop 1")
    assert stopped.pid is not None
    while _state(stopped.pid) != "T":
        assert stopped.is_alive()
        await asyncio.sleep(0.05)

    world.push_objects("c", config_map("c", {"a": "new"}))
    presenter = Recorder()
    outcome = await world.deploy(presenter)
    assert outcome.said == "deployed"
    assert any("until its token is refused" in note for note in presenter.notes)
    before = world.get("ConfigMap", "c")
    receipts = world.receipts()
    os.kill(stopped.pid, signal.SIGCONT)

    assert await asyncio.to_thread(ended, stopped) == 1
    assert before is not None
    assert before["data"] == {"a": "new"}
    assert world.get("ConfigMap", "c") == before
    assert world.receipts() == receipts
    assert world.mark()["deployed"] == world.head
    assert (await world.plan()).empty
    assert (await world.deploy()).said == "in sync"


async def test_a_term_that_was_given_back_costs_the_next_one_nothing(world: World) -> None:
    """One fence lasts as long as every holder gave the lock back: no waiting, no new Secret."""
    await world.deploy()
    fence = world.get("Secret", FENCE, namespace=world.control)
    assert fence is not None
    world.push_objects("c", config_map("c", {"a": "1"}))
    presenter = Recorder()
    await world.deploy(presenter)
    assert world.get("Secret", FENCE, namespace=world.control) == fence
    assert not any("refused" in note for note in presenter.notes)


async def test_a_fence_that_somebody_removed_is_put_up_again(world: World) -> None:
    """Without the Secret no token is worth anything; the next run makes a new one, and writes."""
    await world.deploy()
    world.delete(f"/api/v1/namespaces/{world.control}/secrets/{FENCE}")
    world.push_objects("c", config_map("c", {"a": "1"}))
    assert (await world.deploy()).said == "deployed"
    assert world.get("Secret", FENCE, namespace=world.control) is not None


async def test_a_holder_whose_fence_is_torn_down_is_told_so(world: World) -> None:
    """Its writes are refused as those of a run that lost its lock, not as a bad password."""
    await world.deploy()
    lock = lease.acquire(world.admin, namespace=world.control, name=world.manager, who="slow/1")
    body = {**config_map("c", {"a": "1"}), "metadata": {"name": "c", "namespace": world.namespace}}
    lock.writer.create(body, manager="slow")
    world.delete(f"/api/v1/namespaces/{world.control}/secrets/{FENCE}")
    await asyncio.sleep(lease.CACHED_SECONDS)
    with pytest.raises(LockHeld, match="somebody else took it"):
        lock.writer.apply(body, manager="slow")
    lock.release()


async def test_a_held_lock_names_its_holder(world: World) -> None:
    """Who cannot have the lock learns who has it, and since when."""
    await world.deploy()
    control, name = world.control, world.manager
    with (
        lease.held(world.admin, namespace=control, name=name, who="somebody/1") as lock,
        pytest.raises(LockHeld, match=r"held by somebody/1 since 20\d\d-"),
    ):
        lock.renew()
        lease.acquire(world.admin, namespace=control, name=name, who="me/2")
    lease.acquire(world.admin, namespace=control, name=name, who="me/2").release()


async def test_a_lock_that_was_taken_stops_its_former_holder(world: World) -> None:
    """A holder whose Lease somebody else took writes nothing more."""
    await world.deploy()
    lock = lease.acquire(world.admin, namespace=world.control, name=world.manager, who="slow/1")
    _free(world)
    other = lease.acquire(world.admin, namespace=world.control, name=world.manager, who="quick/2")
    with pytest.raises(LockHeld, match="somebody else took it"):
        lock.renew()
    with pytest.raises(LockHeld):
        lock.require_held()
    other.release()


async def test_two_runs_at_once_apply_one_after_the_other(world: World) -> None:
    """Flows and command line share the lock: of two deploys at once one writes, the other finds it done."""
    world.push_objects("web", deployment(), service())

    outcomes = await asyncio.gather(world.deploy(), world.deploy())

    assert {outcome.commit for outcome in outcomes} == {world.head}
    assert sorted(outcome.said for outcome in outcomes) == ["deployed", "in sync"]
    assert [kind for kind, _ in world.receipts()] == ["intent", "result"]
    assert (await world.plan()).empty
    assert _inventory(world) == _owned(world)


async def test_a_run_that_is_overtaken_while_it_looks_judges_again(world: World) -> None:
    """Another run makes the objects after this one has read the inventory: they are ours, and nothing is blocked."""
    world.push_objects("web", deployment(), service())

    class Overtaken(Recorder):
        async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
            result = await super().step(effect, *args, **kwargs)
            if effect.name == "read record" and self.steps.count("read record") == 1:
                await world.deploy()
            return result

    outcome = await world.deploy(Overtaken())

    assert (outcome.commit, outcome.said) == (world.head, "in sync")
    assert [kind for kind, _ in world.receipts()] == ["intent", "result"]
    assert _inventory(world) == _owned(world)


async def test_a_run_that_is_overtaken_by_a_newer_commit_turns_nothing_back(world: World) -> None:
    """Of two commits that change nothing here, the older one is noted last, or would be: it decides once more, and
    where the environment stands is the newer one's, on the host as in the cluster.
    """
    await world.deploy()
    overtaken = _Overtaken(world, often=1)

    outcome = await world.deploy(overtaken)

    assert (outcome.said, outcome.commit) == ("in sync", world.head)
    assert world.mark()["deployed"] == world.head
    assert overtaken.notes.count("environment dev: another run has moved it on meanwhile; deciding once more") == 1


async def test_a_plan_that_is_overtaken_is_made_anew(world: World) -> None:
    """What was found differs from what another run has deployed since; the new plan has nothing left to do."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    overtaken = _Overtaken(world, often=1)

    assert (await world.plan(overtaken)).empty
    assert overtaken.notes.count("environment dev: another run has moved it on meanwhile; deciding once more") == 1
    assert world.mark()["deployed"] == world.head


async def test_a_run_that_is_overtaken_each_time_gives_up(world: World) -> None:
    """It begins anew some times and no more, and the next run is as any other."""
    await world.deploy()

    with pytest.raises(LockHeld, match="another run has moved it on"):
        await world.deploy(_Overtaken(world, often=LOOKS))

    assert world.mark()["deployed"] == world.head
    assert (await world.deploy()).said == "in sync"


class _Overtaken(Recorder):
    """Finds something new each time, and another run has deployed what is newer still before this one comes to it."""

    def __init__(self, world: World, *, often: int) -> None:
        super().__init__()
        self._world, self._left = world, often

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if effect.name == fetch_verified.name and self._left:
            self._world.push({"NOTES.md": f"{self._left} more"})
        result = await super().step(effect, *args, **kwargs)
        if effect.name == "plan" and self._left:
            self._left -= 1
            self._world.push({"NOTES.md": f"{self._left} more, and newer"})
            await self._world.deploy()
        return result


async def test_a_record_that_was_turned_back_freezes(world: World) -> None:
    """Somebody sets the record in the cluster to an older commit: refused, and nothing is written."""
    first = world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    second = world.push_objects("c", config_map("c", {"a": "2"}))
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "3"}))
    await world.deploy()
    name = f"{world.manager}-record"
    live = world.get("ConfigMap", name, namespace=world.control)
    assert live is not None
    text = live["data"]["record.json"].replace(world.head, first)
    assert second not in text
    world.admin.replace({**live, "data": {"record.json": text}}, manager="somebody")

    with pytest.raises(Refused) as refused:
        await world.deploy()

    assert refused.value.rule == "record-mismatch"
    assert world.get("ConfigMap", "c")["data"] == {"a": "3"}  # type: ignore[index]


async def test_a_lost_mark_is_verified_anew_from_the_root_pin(world: World) -> None:
    """The host's state is gone: the record's commit is found in the verified history, and the environment goes on."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    (world.host.state / "marks" / "dev.json").unlink()
    world.push_objects("c", config_map("c", {"a": "2"}))

    assert (await world.deploy()).said == "deployed"
    assert world.mark()["deployed"] == world.head


async def test_a_lost_mark_does_not_hide_a_rewritten_branch(world: World) -> None:
    """Without the mark a force-push is still found: what was deployed is not in the new history."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    (world.host.state / "marks" / "dev.json").unlink()
    world.force(
        world.repository.write(
            world.root, {manifest_path("c"): b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: evil}\n"}
        )
    )

    with pytest.raises(Refused) as refused:
        await world.deploy()

    assert refused.value.rule == "record-mismatch"
    assert world.get("ConfigMap", "c")["data"] == {"a": "1"}  # type: ignore[index]


async def test_a_damaged_inventory_stops_everything(world: World) -> None:
    """A part of the inventory is gone: nothing is planned on a shorter one."""
    await world.deploy()
    world.admin.request("DELETE", f"/api/v1/namespaces/{world.control}/configmaps/{world.manager}-inventory-1-0")

    with pytest.raises(Refused) as refused:
        await world.plan()

    assert refused.value.rule == "record-damaged"


async def test_an_intent_does_not_claim_a_strangers_object(world: World) -> None:
    """CD dies before it makes an object, and somebody makes one of that name: it is theirs, and blocks."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "ours"}))
    _kill(world, "after write inventory 1")
    _free(world)
    theirs = config_map("c", {"a": "theirs"})
    theirs["metadata"]["namespace"] = world.namespace
    world.admin.create(theirs, manager="somebody")

    with pytest.raises(Blocked, match="exists and is not ours"):
        await world.deploy()

    assert world.get("ConfigMap", "c")["data"] == {"a": "theirs"}  # type: ignore[index]
