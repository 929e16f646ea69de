"""What a plan remembers, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cd import compare
from interlock.cd.plan import Action
from tasks.cd import verdicts
from tests.cluster.worlds import World, config_map, deployment, service


def _memory(world: World) -> Path:
    return verdicts.path(world.host.state, "dev")


async def _settled(world: World) -> None:
    world.push_objects("web", deployment(), service(), config_map("c", {"a": "1"}))
    await world.deploy()
    assert (await world.resync()).said == "in sync"


async def test_nothing_is_compared_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second plan of the same commit and the same objects takes every verdict from memory, and is the same plan."""
    await _settled(world)
    first = await world.plan()
    compared: list[Any] = []
    real = compare.settled

    def noted(*words: Any) -> bool:
        compared.append(words)
        return real(*words)

    monkeypatch.setattr(compare, "settled", noted)

    second = await world.plan()

    assert compared == []
    assert second.digest == first.digest
    assert {item.action for item in second.items} == {Action.UNCHANGED}
    assert len(second.items) == len(first.items) == 4


async def test_a_remembered_object_that_moves_is_looked_at(world: World) -> None:
    """A field that is taken away or added by other hands is found although the object was as it should be before."""
    await _settled(world)
    path = world.path("configmaps", "c")
    world.merge(path, {"data": {"a": "theirs", "b": "foreign"}})

    (item,) = (await world.plan()).writes

    assert item.identity.name == "c"
    assert {field.path: field.kind for field in item.fields} == {"data.a": "drift", "data.b": "removed"}


async def test_a_lost_or_damaged_memory_changes_nothing(world: World) -> None:
    """It is written anew by the next plan."""
    await _settled(world)
    whole = await world.plan()
    _memory(world).write_text("{")
    assert (await world.plan()).digest == whole.digest
    before = json.loads(_memory(world).read_text())["known"]
    _memory(world).unlink()
    assert (await world.plan()).digest == whole.digest
    assert json.loads(_memory(world).read_text())["known"] == before != {}
