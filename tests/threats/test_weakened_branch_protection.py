"""An administrator of the forge, or whoever stole such an account, takes reviews off the branch and goes on from there.

Defence: CD's host compares the forge's settings with what the environment repository wants, on a schedule, and before
a deploy when that was missed; a weakening freezes the environments concerned and alarms, until it is undone or a signed
commit accepts it (flows/cd/guard.py, interlock/contract/protection.py, interlock/cd/freeze.py).
Not defended: what is pushed and deployed between the weakening and the next look (`guard_seconds`), by somebody whose
signature counts for the path; approvals that are asked for in the environment repository do not rest on the forge.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.cd.guard import guard_order
from interlock.contract.protection import Wanted
from interlock.errors import Blocked, Refused
from tasks.common.protection import doors
from tests.cluster.worlds import Recorder, World, config_map
from tests.forges.guarding import Guarding, guarding


@pytest.fixture
def forge(world: World, tmp_path: Path) -> Iterator[Guarding]:
    """Of the environment repository, as it is wanted; CD's host knows it."""
    with guarding("github") as made:
        account = made.account(tmp_path / "forge-token")
        doors.apply(account, Wanted())
        host = yaml.safe_load(world.config.read_text())
        host["forges"] = {"environments": account.model_dump(mode="json")}
        world.config.write_text(yaml.safe_dump(host))
        yield made


def weaken(forge: Guarding) -> None:
    assert forge.rules is not None
    del forge.rules["required_pull_request_reviews"]


async def test_an_unreviewed_commit_succeeds_where_cd_knows_no_forge(world: World, forge: Guarding) -> None:
    """It is signed, so it is deployed."""
    host = yaml.safe_load(world.config.read_text())
    world.config.write_text(yaml.safe_dump({**host, "forges": {}}))
    await world.deploy()
    weaken(forge)
    world.push_objects("evil", config_map("evil", {"a": "1"}))

    await world.deploy()

    assert world.get("ConfigMap", "evil") is not None


async def test_an_unreviewed_commit_is_not_deployed_though_the_schedule_is_paused(
    world: World, forge: Guarding
) -> None:
    """Whoever deploys looks first when nobody did for some time."""
    await world.deploy()
    weaken(forge)
    last = world.host.state / "asked" / "guard"
    os.utime(last, (0, 0))
    world.push_objects("evil", config_map("evil", {"a": "1"}))

    with pytest.raises(Refused, match="branch-protection"):
        await world.deploy()

    assert world.get("ConfigMap", "evil") is None


async def test_an_unreviewed_commit_is_not_deployed_after_the_next_look(world: World, forge: Guarding) -> None:
    """It is refused as long as the branch is weaker than wanted, while drift is undone as before."""
    await guard_order(Recorder(), world.host)
    await world.deploy()
    weaken(forge)
    with pytest.raises(Blocked, match=r"environments: reviews \(0\)"):
        await guard_order(Recorder(), world.host)
    world.push_objects("evil", config_map("evil", {"a": "1"}))
    world.merge(world.path("configmaps", "base"), {"data": {"a": "changed"}})

    with pytest.raises(Refused, match="branch-protection") as refused:
        await world.resync()

    assert refused.value.rule == "frozen" and world.get("ConfigMap", "evil") is None
    base = world.get("ConfigMap", "base")
    assert base is not None and base["data"] == {"a": "1"}

    doors.apply(world.host.forges["environments"], Wanted())
    await guard_order(Recorder(), world.host)
    assert (await world.deploy()).said == "deployed"
