"""The branch is set back to what is deployed, while the newest commit was verified and never became healthy.

Defence: a host measures from the commit that it verified last, not from the one that was healthy last; it records the
first before anything is written (flows/cd/walk.py, interlock/cd/record.py).
Not defended: nothing known.
"""

from __future__ import annotations

import pytest

from flows.cd import walk
from interlock.errors import Refused, Unhealthy
from tests.cluster.worlds import World, config_map, deployment


async def unhealthy(world: World) -> tuple[str, str]:
    """What is deployed, and a newer commit of which one object never gets ready."""
    deployed = world.push_objects("settings", config_map("settings", {"a": "old"}))
    assert (await world.deploy()).said == "deployed"
    newer = world.push_objects("web", deployment(replicas=1), config_map("mended", {"a": "new"}))
    with pytest.raises(Unhealthy):
        await world.deploy()
    assert (world.mark()["verified"], world.mark()["deployed"]) == (newer, deployed)
    return deployed, newer


async def test_setting_back_to_what_is_deployed_succeeds_when_measured_from_there(
    impatient_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where fast-forward is measured from the last healthy commit, the mending commit is gone without a word."""
    world = impatient_world
    deployed, _ = await unhealthy(world)
    world.force(deployed)
    fetched = walk._fetched
    monkeypatch.setattr(walk, "_fetched", lambda site, since, **how: fetched(site, deployed, **how))
    await world.deploy()

    assert world.mark()["verified"] == deployed
    assert world.get("ConfigMap", "mended") is None


async def test_setting_back_to_what_is_deployed_is_refused(impatient_world: World) -> None:
    """Nothing of the newer commit is taken back; bringing the branch forward again is the repair."""
    world = impatient_world
    deployed, newer = await unhealthy(world)
    world.force(deployed)

    with pytest.raises(Refused) as refused:
        await world.deploy()

    assert refused.value.rule == "rewritten"
    assert world.mark()["verified"] == newer
    assert world.get("ConfigMap", "mended") is not None
