"""An object that a stranger made before us is silently taken for ours: with what it holds, and deleted later.

Defence: what exists and is not in the inventory is refused until a commit takes it over by name; objects count as ours
by the UID that the server gave at our own write (interlock/cd/plan.py, interlock/cd/inventory.py).
Not defended: a stranger who may write in the namespace can hold up one object's first deploy by making it first; the
plan names the object and who made it.
"""

from __future__ import annotations

import pytest

from interlock.cd.objects import Body, uid
from interlock.errors import InterlockError
from tests.cluster.worlds import World, config_map


def _stranger(world: World) -> Body:
    body = config_map("settings", {"a": "theirs", "rules": "allow: everybody"})
    body["metadata"]["namespace"] = world.namespace
    return world.admin.create(body, manager="mallory")


def _live(world: World) -> Body | None:
    return world.get("ConfigMap", "settings")


async def test_adoption_succeeds_with_a_plain_apply(world: World) -> None:
    """The server says 200 where it should be 201: the stranger's field stays in ours, and a prune deletes his data."""
    made = _stranger(world)
    body = {**config_map("settings", {"a": "ours"}), "metadata": {"name": "settings", "namespace": world.namespace}}
    world.admin.apply(body, manager=world.manager, force=True)

    live = _live(world)
    assert live is not None and uid(live) == uid(made)
    assert live["data"] == {"a": "ours", "rules": "allow: everybody"}

    world.delete(world.path("configmaps", "settings"))
    assert _live(world) is None


async def test_adoption_is_refused(world: World) -> None:
    """The deploy is blocked with the object's name, nothing of it changes, and nothing ever prunes it."""
    await world.deploy()
    made = _stranger(world)
    world.push_objects("settings", config_map("settings", {"a": "ours"}))

    with pytest.raises(InterlockError, match=r"ConfigMap/.*/settings"):
        await world.deploy()
    assert _live(world) == made

    world.remove("settings")
    await world.deploy()
    assert _live(world) == made
