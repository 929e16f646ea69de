"""A worker that slept through the end of its lock wakes up and writes what is outdated by now.

Defence: writes carry a token that is bound to a Secret in the control namespace; who takes the lock over deletes that
Secret, and waits until the API server refuses such tokens, before it writes (tasks/cd/lease.py).
Not defended: API servers that run with `--service-account-lookup=false`: a run that has to fence somebody off then
refuses to write. Who can read tokens out of the worker's memory needs no sleep.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from tasks.cd import lease
from tests.cluster import killed
from tests.cluster.test_faults import _state
from tests.cluster.worlds import World, config_map
from tests.killed import ended, started


def fenced(config: str) -> None:
    """A run that stops just before its first write."""
    killed.run(config, "stop 1")


def unfenced(config: str) -> None:
    """The same, which trusts the Lease alone, as most who use one do."""
    lease.Lock.arm = lambda self, *_: setattr(self, "writer", self._cluster)  # type: ignore[method-assign]
    fenced(config)


async def overtaken(world: World, run: Callable[[str], None]) -> int | None:
    """What becomes of a run that sleeps while another one deploys a newer commit."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "old"}))
    asleep = started(run, str(world.config))
    assert asleep.pid is not None
    while _state(asleep.pid) != "T":
        assert asleep.is_alive()
        await asyncio.sleep(0.05)
    world.push_objects("c", config_map("c", {"a": "new"}))
    assert (await world.deploy()).said == "deployed"
    os.kill(asleep.pid, signal.SIGCONT)
    return await asyncio.to_thread(ended, asleep)


def said(world: World) -> object:
    live = world.get("ConfigMap", "c")
    assert live is not None
    return live["data"]


async def test_a_late_write_succeeds_with_a_lease_alone(world: World) -> None:
    """The API server takes it: the environment is back at the older commit, and its record says the newer one."""
    await overtaken(world, unfenced)

    assert said(world) == {"a": "old"}


async def test_a_late_write_is_refused_by_the_server(world: World) -> None:
    """Its token is worth nothing any more: the run fails, and what is there is the newer commit's."""
    assert await overtaken(world, fenced) == 1

    assert said(world) == {"a": "new"}
    assert (await world.plan()).empty
