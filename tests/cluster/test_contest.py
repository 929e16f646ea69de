"""Somebody takes a field again after every undo: noticed, named, and after three flips the undo waits."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interlock.cd.contest import FIRST_WAIT_SECONDS
from interlock.cd.objects import Body, reach
from interlock.errors import ClusterError
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment

EVIL = "registry.example/evil@sha256:" + "66" * 32


@contextmanager
def _opponent(world: World, look: Callable[[], object], his: object, write: Callable[[], None]) -> Iterator[None]:
    """Another controller: as soon as the field is not his, he writes it."""
    ended = threading.Event()

    def fight() -> None:
        while not ended.wait(0.05):
            try:
                if look() != his:
                    write()
            except ClusterError:
                continue  # somebody wrote at the same moment; he looks again

    thread = threading.Thread(target=fight)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def _decisions(presenter: Recorder) -> dict[str, str]:
    return {row[1]: row[6] for table in presenter.report("drift").tables for row in table.rows}


def _memory(world: World) -> Path:
    return Path(world.host.state) / "contests" / "dev.json"


def _older(world: World, seconds: float) -> None:
    """As if all of it had been so long ago."""
    rows: list[Any] = json.loads(_memory(world).read_text())
    _memory(world).write_text(json.dumps([[*row[:6], [each - seconds for each in row[6]]] for row in rows]))


async def test_after_three_flips_the_undo_waits_and_names_the_opponent(world: World) -> None:
    """The contested field stays as he made it and is reported with what can be decided; others are undone as ever."""
    world.push_objects("c", config_map("c", {"a": "1", "b": "1"}))
    await world.deploy()
    path = world.path("configmaps", "c")

    def value(key: str) -> object:
        live: Body = world.get("ConfigMap", "c") or {}
        return reach(live, ("data", key))

    def his() -> None:
        world.merge(path, {"data": {"a": "theirs"}}, manager="other-controller")

    with _opponent(world, lambda: value("a"), "theirs", his):
        for _ in range(3):
            await _until(lambda: value("a") == "theirs")
            assert (await world.resync()).said == "drift undone"
        await _until(lambda: value("a") == "theirs")
        before = world.get("ConfigMap", "c")
        world.merge(path, {"data": {"b": "by hand"}}, manager="kubectl-edit")

        presenter = Recorder()
        assert (await world.resync(presenter)).said == "drift undone"

        assert _decisions(presenter) == {"data.a": "contested", "data.b": "undone"}
        told = presenter.report("drift").body
        assert "other-controller took data.a again after each of 3 undos" in told.replace("\\", "")
        assert "decision: leave" in told
        assert (value("a"), value("b")) == ("theirs", "1")
        quiet = Recorder()
        assert (await world.resync(quiet)).said == "in sync"
        assert "take the lock" not in quiet.steps
        assert before is not None

        _older(world, FIRST_WAIT_SECONDS + 1)
        assert (await world.resync()).said == "drift undone"
        await _until(lambda: value("a") == "theirs")
        _older(world, FIRST_WAIT_SECONDS + 1)
        assert (await world.resync()).said == "in sync"  # four flips: twice as long


async def test_a_new_commit_does_not_wait(world: World) -> None:
    """What people commit is applied, contested or not."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    for _ in range(3):
        world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}}, manager="other-controller")
        await world.resync()
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}}, manager="other-controller")
    assert (await world.resync()).said == "in sync"

    world.push_objects("c", config_map("c", {"a": "2"}))
    await world.deploy()

    live = world.get("ConfigMap", "c")
    assert live is not None
    assert live["data"] == {"a": "2"}


async def test_an_added_field_is_contested_too(world: World) -> None:
    """A label that somebody sets after every removal: it stays for now, and is told of."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    path = world.path("configmaps", "c")
    for _ in range(3):
        world.merge(path, {"metadata": {"labels": {"x/y": "z"}}}, manager="other-controller")
        assert (await world.resync()).said == "drift undone"
    world.merge(path, {"metadata": {"labels": {"x/y": "z"}}}, manager="other-controller")

    presenter = Recorder()
    assert (await world.resync(presenter)).said == "in sync"

    assert _decisions(presenter) == {'metadata.labels["x/y"]': "contested"}


async def test_an_image_is_never_given_up(impatient_world: World) -> None:
    """However often somebody changes it: every resync puts it back."""
    world = impatient_world
    world.push_objects("web", deployment())
    await world.deploy()
    container = {"name": "web", "image": EVIL}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    for _ in range(5):
        world.merge(world.path("deployments", "web", "apps/v1"), body, manager="attacker")
        assert (await world.resync()).said == "drift undone"
        live = world.get("Deployment", "web", "apps/v1")
        assert live is not None
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE


async def test_the_memory_may_be_lost_or_damaged(world: World) -> None:
    """Then the fight is noticed anew, and nothing else happens."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    for damage in (None, "[[1]]", "\x00", '{"a": 1}'):
        world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}}, manager="other-controller")
        if damage is not None:
            _memory(world).write_text(damage)
        assert (await world.resync()).said == "drift undone"
