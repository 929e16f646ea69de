"""Applications of an environment wait for each other, and one that is broken does not keep its neighbours."""

from __future__ import annotations

import asyncio
from typing import ParamSpec, TypeVar

import pytest
import yaml

from flows.cd import removal
from interlock.cd.objects import Body
from interlock.contract import layout
from interlock.errors import Blocked, Conflict, FormatError, Unhealthy
from tasks.common.effect import Effect
from tests.cluster.worlds import Recorder, World, config_map, manifest_path, service

P = ParamSpec("P")
R = TypeVar("R")


def application(name: str, *bodies: Body) -> dict[str, str | None]:
    """An application of plain manifests; of none, it has one ConfigMap of its name."""
    return {f"{layout.manifests('dev', name)}/all.yaml": yaml.safe_dump_all(bodies or [config_map(name, {"a": "1"})])}


def ordered(world: World, *, on_error: str = "application", **after: list[str]) -> dict[str, str | None]:
    """environment.yaml with an order."""
    text = (
        f'format: 1\nid: "{world.environment_id}"\ncluster: sandbox\nnamespaces: [{world.namespace}]\n'
        "drift: undo\nhealth_seconds: 20\n"
    )
    order = {name: {"after": others} for name, others in after.items()}
    return {layout.environment("dev"): text + yaml.safe_dump({"order": order, "on_error": on_error})}


def balanced(name: str) -> Body:
    """Not healthy until somebody gives it an address: there is no cloud here."""
    body = service(name)
    body["spec"]["type"] = "LoadBalancer"
    return body


def give_address(world: World, name: str) -> None:
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    world.merge(world.path("services", f"{name}/status"), status)


def broken(name: str) -> Body:
    """A ConfigMap with a field that no schema has."""
    return {**config_map(name, {"a": "1"}), "dat": {}}


async def until(world: World, kind: str, name: str) -> None:
    for _ in range(100):
        if world.get(kind, name):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{kind} {name} was not applied")


def exists(world: World, name: str) -> bool:
    return world.get("ConfigMap", name) is not None


async def test_who_waits_begins_when_what_it_needs_is_healthy(world: World) -> None:
    """Not before, and not when all others are: a neighbour that is slow keeps only those that need it."""
    world.push(
        {
            **application("db", balanced("db")),
            **application("slow", balanced("slow")),
            **application("web"),
            **application("late"),
            **application("other"),
            **ordered(world, web=["db"], late=["slow", "web"]),
        }
    )
    presenter = Recorder()
    deploying = asyncio.create_task(world.deploy(presenter))
    await until(world, "Service", "db")
    await until(world, "ConfigMap", "other")
    await asyncio.sleep(2)
    assert not exists(world, "web")

    give_address(world, "db")
    await until(world, "ConfigMap", "web")
    assert not exists(world, "late")
    assert any("Service" in note and "has no load balancer address" in note for note in presenter.notes)

    give_address(world, "slow")
    assert (await deploying).said == "deployed"
    assert exists(world, "late")
    assert presenter.steps.count("apply applications") == 1


async def test_a_broken_object_stops_its_application_and_those_after_it(world: World) -> None:
    """Neighbours are deployed; the run ends Blocked, the record stays pending, the receipt tells who stayed behind."""
    world.push({**application("db"), **application("web"), **ordered(world, web=["db"])})
    await world.deploy()
    deployed = world.head
    changes = {
        **application("db", broken("db"), config_map("more", {"a": "1"})),
        **application("web", config_map("web", {"a": "2"})),
        **application("other", config_map("other", {"a": "2"})),
    }
    world.push(changes)

    presenter = Recorder()
    with pytest.raises(Blocked, match=r"ConfigMap/t\w+/db: blocked: dat: unknown field .*data\?") as blocked:
        await world.deploy(presenter)

    assert "web: waits for db" in blocked.value.message
    assert not exists(world, "more")
    assert world.get("ConfigMap", "web")["data"] == {"a": "1"}  # type: ignore[index]
    assert world.get("ConfigMap", "other")["data"] == {"a": "2"}  # type: ignore[index]
    plan = presenter.report("plan")
    assert plan.data["blocked"].keys() == {"db", "web"}  # type: ignore[index]
    assert "Stays as it is because" in plan.body
    record = world.stored().record
    assert record is not None
    assert (record.verified, record.deployed, record.pending) == (world.head, deployed, world.head)
    assert world.receipts()[-2:] == [("intent", ""), ("result", "blocked")]

    world.push(application("db"))
    assert (await world.deploy()).said == "deployed"
    assert world.get("ConfigMap", "web")["data"] == {"a": "2"}  # type: ignore[index]
    record = world.stored().record
    assert record is not None
    assert (record.deployed, record.pending) == (world.head, None)


async def test_what_stays_blocked_is_kept_up_without_noise(world: World) -> None:
    """Run again, nothing is written and no receipt is left; a neighbour that somebody changes is put right."""
    world.push({**application("db", broken("db")), **application("other")})
    with pytest.raises(Blocked):
        await world.deploy()
    receipts = world.receipts()

    for _ in range(2):
        with pytest.raises(Blocked, match="cannot be made"):
            await world.resync()
    assert world.receipts() == [*receipts, ("plan", "blocked")]

    world.merge(world.path("configmaps", "other"), {"data": {"a": "changed"}})
    with pytest.raises(Blocked):
        await world.resync()
    assert world.get("ConfigMap", "other")["data"] == {"a": "1"}  # type: ignore[index]


async def test_nothing_is_pruned_that_a_blocked_application_may_use(world: World) -> None:
    """What it dropped itself stays, and what an application that left Git had; a neighbour's goes."""
    world.push(
        {
            **application("db", config_map("db", {"a": "1"}), config_map("db-old", {"a": "1"})),
            **application("other", config_map("other", {"a": "1"}), config_map("other-old", {"a": "1"})),
            **application("gone"),
        }
    )
    await world.deploy()
    world.push(
        {
            **application("db", broken("db")),
            **application("other"),
            f"{layout.manifests('dev', 'gone')}/all.yaml": None,
        }
    )
    with pytest.raises(Blocked):
        await world.deploy()
    assert [exists(world, name) for name in ("db-old", "other-old", "gone")] == [True, False, True]

    world.push(application("db"))
    assert (await world.deploy()).counts == {"prune": 2}
    assert [exists(world, name) for name in ("db-old", "gone")] == [False, False]


async def test_all_or_nothing_by_policy(world: World) -> None:
    """With `on_error: environment` a broken object leaves everything as it is, and says that nothing was written."""
    world.push({**application("db", broken("db")), **application("other"), **ordered(world, on_error="environment")})
    with pytest.raises(Blocked) as blocked:
        await world.deploy()
    assert not exists(world, "other")
    assert blocked.value.hint.endswith("nothing was written")
    assert world.receipts() == [("plan", "blocked")]


async def test_a_refusal_while_applying_stops_only_who_waits(world: World) -> None:
    """The server says no where the plan saw nothing: neighbours are through, dependants stay; its words are told."""
    world.push({**application("db"), **application("web"), **application("other"), **ordered(world, web=["db"])})

    class Interfering(Recorder):
        async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
            if effect.name == "apply applications":
                theirs = config_map("db", {"theirs": "1"})
                theirs["metadata"]["namespace"] = world.namespace
                world.admin.create(theirs, manager="somebody")
            return await super().step(effect, *args, **kwargs)

    with pytest.raises(Exception, match="appeared since the plan was made") as refused:
        await world.deploy(Interfering())

    assert not isinstance(refused.value, Conflict), "web is told of too"
    assert "web: waits for db" in str(refused.value)
    assert (exists(world, "web"), exists(world, "other")) == (False, True)
    assert world.inventory().entries.keys() >= {i for i in world.inventory().entries if i.name == "other"}
    assert all(entry.uid for i, entry in world.inventory().entries.items() if i.name == "other")


async def test_who_is_not_healthy_stops_only_who_waits(impatient_world: World) -> None:
    """Neighbours are through and pruned; an upkeep does not wait for it again and leaves no receipt."""
    world = impatient_world
    world.push({**application("other", config_map("other", {"a": "1"}), config_map("old", {"a": "1"}))})
    await world.deploy()
    text = ordered(world, web=["db"])[layout.environment("dev")] or ""
    world.push(
        {
            **application("db", balanced("db")),
            **application("web"),
            **application("other"),
            layout.environment("dev"): text.replace("health_seconds: 20", "health_seconds: 1"),
        }
    )

    with pytest.raises(Unhealthy, match="has no load balancer address") as unhealthy:
        await world.deploy()

    assert "web: waits for db" in unhealthy.value.message
    assert (exists(world, "web"), exists(world, "other"), exists(world, "old")) == (False, True, False)
    assert world.receipts()[-1] == ("result", "unhealthy")
    receipts = len(world.receipts())
    with pytest.raises(Unhealthy, match="still not healthy"):
        await world.resync()
    assert len(world.receipts()) == receipts

    give_address(world, "db")
    assert (await world.resync()).said == "deployed"
    assert exists(world, "web")


async def test_a_circle_is_refused_with_all_of_it(world: World) -> None:
    """Before anything is rendered: the file, the line, and who waits for whom."""
    world.push(
        {**application("db"), **application("web"), **application("api")}
        | ordered(world, db=["web"], web=["api"], api=["db"])
    )
    with pytest.raises(FormatError, match=r"environments/dev/environment.yaml:\d+:3: .*api → db → web → api"):
        await world.deploy()


# removal ---------------------------------------------------------------------------------------------


def _held(world: World, name: str, *, held: bool) -> None:
    finalizers = ["example.org/stays"] if held else None
    world.merge(world.path("configmaps", name), {"metadata": {"finalizers": finalizers}})


async def test_applications_that_leave_git_go_backwards(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git says no more who waited for whom, and it counts all the same: the database goes after its users."""
    monkeypatch.setattr(removal, "PRUNE_SECONDS", 1)
    every = {**application("db"), **application("web"), **application("mail")}
    world.push(every | ordered(world, web=["db"]))
    await world.deploy()
    _held(world, "web", held=True)
    world.push(dict.fromkeys(every) | ordered(world))

    await world.deploy()
    assert (exists(world, "db"), exists(world, "mail")) == (True, False)
    kept = {item.identity.name: item.reason for item in (await world.plan()).kept}
    assert kept["db"] == f"kept: goes after ConfigMap/{world.namespace}/web, which is not gone yet"
    await world.deploy()
    assert exists(world, "db")

    _held(world, "web", held=False)
    await world.deploy()
    assert (exists(world, "db"), exists(world, "web")) == (False, False)


async def test_an_environment_is_removed_backwards(world: World) -> None:
    """Its tombstone names no application any more; what others waited for goes last."""
    every = {**application("db"), **application("shop")}
    world.push(every | ordered(world, shop=["db"]))
    await world.deploy()
    _held(world, "shop", held=True)
    gone = {**dict.fromkeys(every), manifest_path("base"): None}
    world.push_settings(gone, state="removed", health_seconds=1)
    allow = {"changes": (await world.plan()).mark, "reason": "the environment is given up"}
    world.push_settings(state="removed", health_seconds=1, allow=allow)

    with pytest.raises(Blocked, match=r"ConfigMap/t\w+/db: kept: goes after ConfigMap/t\w+/shop"):
        await world.deploy()

    assert exists(world, "db")
    _held(world, "shop", held=False)
    assert (await world.deploy()).said == "removed"
    assert not exists(world, "db")
