"""An environment is removed by a commit, in order, and never by an accident."""

from __future__ import annotations

import pytest

from interlock.cd.objects import PART_OF, Body
from interlock.errors import Blocked, Refused
from tests.cluster.test_faults import _free, _kill
from tests.cluster.test_prune import REASON, _claim, _confirmation, _kept, _live, _members
from tests.cluster.worlds import Recorder, World, config_map, deployment, manifest_path, service

WEB = "web"


async def _filled(world: World) -> None:
    world.push_objects(WEB, deployment(), service(), config_map("settings", {"a": "1"}))
    await world.deploy()


def _tombstone(world: World, *, mark: str = "", **settings: object) -> str:
    allow = {"allow": {"changes": mark, "reason": REASON}} if mark else {}
    files = {manifest_path(WEB): None, manifest_path("base"): None}
    return world.push_settings(files if not mark else {}, state="removed", **allow, **settings)


async def test_a_missing_folder_removes_nothing(world: World) -> None:
    """Without its folder the environment is refused: its objects stay."""
    await _filled(world)
    world.push({manifest_path(WEB): None, manifest_path("base"): None, "environments/dev/environment.yaml": None})
    with pytest.raises(Refused) as refused:
        await world.deploy()
    assert refused.value.rule == "environment-missing"
    assert "state: removed" in refused.value.hint
    assert len(_members(world)) == 4


async def test_a_tombstone_needs_its_allowance_and_then_removes_everything(world: World) -> None:
    """The first commit only gives the mark; with it all goes, record and ledger say so, and the next run is quiet."""
    await _filled(world)
    _tombstone(world)
    with pytest.raises(Blocked, match="4 of 4 objects would be deleted: the environment is to be removed"):
        await world.deploy()
    assert len(_members(world)) == 4
    _tombstone(world, mark=(await world.plan()).mark)

    outcome = await world.deploy()

    assert (outcome.said, outcome.counts) == ("removed", {"prune": 4})
    assert world.get("Deployment", "web", "apps/v1") is None
    assert world.inventory().entries == {}
    record = world.stored().record
    assert record is not None
    assert (record.removed, record.deployed, record.pending) == (True, world.head, None)
    assert world.receipts()[-1] == ("result", "removed")
    receipts = world.receipts()
    again = await world.deploy()
    assert (again.said, again.counts) == ("removed", {})
    assert world.receipts() == receipts


async def test_a_tombstone_goes_on_after_a_kill(world: World) -> None:
    """Killed in the middle of it, the rest goes without another allowance."""
    await _filled(world)
    _tombstone(world)
    _tombstone(world, mark=(await world.plan()).mark)

    _kill(world, "write 2")
    _free(world)
    assert len(world.inventory().entries) > 0
    outcome = await world.deploy()

    assert outcome.said == "removed"
    assert _members(world) == set()
    assert world.inventory().entries == {}


async def test_users_go_before_what_they_use(world: World) -> None:
    """The workload is gone before the first deletion of configuration is asked for."""
    await _filled(world)
    _tombstone(world)
    _tombstone(world, mark=(await world.plan()).mark)

    _kill(world, "write 1")

    live = world.get("Deployment", "web", "apps/v1")
    assert live is None or "deletionTimestamp" in live["metadata"]
    assert "deletionTimestamp" not in _live(world, "ConfigMap", "settings")["metadata"]
    assert "deletionTimestamp" not in _live(world, "Service", "web")["metadata"]


async def test_what_blocks_is_explained_and_its_finalizer_stays(world: World) -> None:
    """A finalizer whose controller is gone holds its object and what comes after it; nobody strips it."""
    await _filled(world)
    finalizer = {"metadata": {"finalizers": ["gone.example/cleanup"]}}
    world.merge(world.path("deployments", "web", "apps/v1"), finalizer, manager="cleaner")
    _tombstone(world, health_seconds=2)
    _tombstone(world, mark=(await world.plan()).mark, health_seconds=2)

    with pytest.raises(Blocked) as blocked:
        await world.deploy()

    told = blocked.value.message
    assert "waits for the finalizer gone.example/cleanup, written by cleaner" in told
    assert "serves no API of gone.example, so its controller seems to be gone" in told
    live = _live(world, "Deployment", "web", "apps/v1")
    assert "gone.example/cleanup" in live["metadata"]["finalizers"]
    assert world.get("ConfigMap", "settings") is not None
    assert world.stored().record.pending == world.head  # type: ignore[union-attr]
    receipts = len(world.receipts())
    with pytest.raises(Blocked, match="goes after Deployment"):
        await world.deploy()
    assert len(world.receipts()) == receipts

    world.merge(world.path("deployments", "web", "apps/v1"), {"metadata": {"finalizers": None}}, manager="cleaner")
    assert (await world.deploy()).said == "removed"
    assert world.inventory().entries == {}


async def test_volumes_go_last_and_only_confirmed(world: World) -> None:
    """A claim that is not confirmed keeps the tombstone open; let go of, it stays with its data, and all is removed."""
    world.push_objects(WEB, deployment(), _claim(world))
    await world.deploy()
    claim = _live(world, "PersistentVolumeClaim", "data")
    _tombstone(world)
    _tombstone(world, mark=(await world.plan()).mark)
    with pytest.raises(Blocked, match="a PersistentVolumeClaim goes only by confirmation"):
        await world.deploy()
    assert _kept(await world.plan()) == {
        "PersistentVolumeClaim/data": "kept: a PersistentVolumeClaim goes only by confirmation"
    }

    world.push_settings(state="removed", prune=[_confirmation(claim, action="release")])
    outcome = await world.deploy()

    assert outcome.said == "removed"
    live: Body = _live(world, "PersistentVolumeClaim", "data")
    assert live["metadata"]["uid"] == claim["metadata"]["uid"]
    assert PART_OF not in live["metadata"].get("labels", {})


async def test_a_confirmed_namespace_goes_last_and_the_environment_ends(world: World) -> None:
    """With the namespace CD's own rights in it go; what was in it is gone then, and later runs are quiet."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}
    world.push_objects(WEB, namespace, service(), config_map("settings", {}))
    await world.deploy()
    word = _confirmation(_live(world, "Namespace", world.namespace))
    _tombstone(world, prune=[word])
    _tombstone(world, mark=(await world.plan()).mark, prune=[word])
    _kill(world, "after prune 1")
    _free(world)
    assert world.inventory().entries

    assert (await world.deploy()).said == "removed"

    assert world.get("Namespace", world.namespace) is None
    assert world.inventory().entries == {}
    assert (await world.deploy()).said == "removed"


async def test_a_tombstone_with_applications_is_refused(world: World) -> None:
    """Whoever removes an environment removes its folders too: one line alone removes nothing."""
    await _filled(world)
    world.push_settings(state="removed")
    with pytest.raises(Exception, match="the environment is removed, and still has shop"):
        await world.deploy()
    assert len(_members(world)) == 4


async def test_an_environment_that_was_removed_can_come_back(world: World) -> None:
    """Its folders and `state: active` in Git make everything anew, with new objects."""
    await _filled(world)
    _tombstone(world)
    _tombstone(world, mark=(await world.plan()).mark)
    await world.deploy()
    world.push_settings({manifest_path("base"): "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\n"})

    assert (await world.deploy()).said == "deployed"

    record = world.stored().record
    assert record is not None
    assert not record.removed
    assert _members(world) == {"ConfigMap/base"}


# a lost record ---------------------------------------------------------------------------------------


def _lose(world: World) -> None:
    """The control namespace's contents are gone, but for the lock."""
    for body in world.admin.list(world.admin.resource("v1", "ConfigMap"), world.control):
        if body["metadata"]["name"].startswith("interlock"):
            world.admin.request("DELETE", f"/api/v1/namespaces/{world.control}/configmaps/{body['metadata']['name']}")


async def test_a_lost_record_is_taken_back_by_a_signed_commit(world: World) -> None:
    """Without it all is a stranger's; with it, what Git names and carries label, nonce and claims is ours again."""
    await _filled(world)
    before = world.inventory().entries
    _lose(world)

    with pytest.raises(Blocked, match=r"the record was lost: take it back by `reclaim: \{result: 2"):
        await world.deploy()
    world.push_settings(reclaim={"result": 2, "reason": REASON})
    presenter = Recorder()
    await world.deploy(presenter)

    assert {i: (e.uid, e.nonce) for i, e in world.inventory().entries.items()} == {
        i: (e.uid, e.nonce) for i, e in before.items()
    }
    world.remove(WEB)
    await world.deploy()
    assert _members(world) == {"ConfigMap/base"}


async def test_a_reclaim_holds_for_one_loss_only(world: World) -> None:
    """Left in Git, it takes nothing back after the next loss: the ledger has gone on."""
    await _filled(world)
    _lose(world)
    world.push_settings(reclaim={"result": 2, "reason": REASON})
    await world.deploy()
    _lose(world)

    with pytest.raises(Blocked, match=r"the record was lost: take it back by `reclaim: \{result: 4"):
        await world.deploy()


async def test_a_reclaim_survives_a_kill(world: World) -> None:
    """Killed before and after the inventory is written, the next run ends with all of it."""
    await _filled(world)
    before = world.inventory().entries.keys()
    _lose(world)
    world.push_settings(reclaim={"result": 2, "reason": REASON})
    for point in ("before write inventory 1", "after write inventory 1"):
        _kill(world, point)
        _free(world)
    await world.deploy()
    assert world.inventory().entries.keys() == before


async def test_a_reclaim_takes_no_strangers_object(world: World) -> None:
    """What carries the label alone, or is not in Git, is not ours."""
    await _filled(world)
    label = _live(world, "Service", "web")["metadata"]["labels"][PART_OF]
    for name in ("stranger", "elsewhere"):
        body = config_map(name, {"x": "theirs"})
        body["metadata"] |= {"namespace": world.namespace, "labels": {PART_OF: label}}
        world.admin.create(body, manager="somebody")
    _lose(world)
    world.push_settings(
        {manifest_path("more"): "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stranger}\n"},
        reclaim={"result": 2, "reason": REASON},
    )

    with pytest.raises(Blocked, match="stranger: blocked: exists and is not ours"):
        await world.deploy()

    assert _live(world, "ConfigMap", "elsewhere")["data"] == {"x": "theirs"}
