"""Somebody sets a host's clock back, so that what expired lives again; or forward, so that receipts lie.

Defence: a host remembers the latest time that it has seen and decides nothing while its clock lies before it
(tasks/common/clock.py); CD compares its clock with the last receipt and with the API server's, before it decides and
before each receipt (flows/cd/clock.py, interlock/cd/clock.py). A commit's own date counts for nothing.
Not defended: a clock that is wrong by less than a minute; a host whose state folder is lost, until CD asks the ledger.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from flows.cd import clock
from interlock.contract import layout
from interlock.errors import ClockWrong
from tasks.cd.cluster import Cluster
from tests.cluster.worlds import World as ClusterWorld
from tests.cluster.worlds import config_map
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def expired(server: Server, tmp_path: Path) -> tuple[World, str]:
    """CI's key was good until yesterday, by the time that the host has seen: it is two days later than its clock."""
    world = make_world(server, tmp_path)
    today = dt.datetime.now(dt.UTC)
    text = environment_tree(person_key=world.ada.public, machine_key=world.ci.public).text(layout.SIGNERS)
    until = today.date() + dt.timedelta(days=1)
    listed = text.replace("    machine: true", f"    machine: true\n    until: {until}")
    since = world.push(world.root, {layout.SIGNERS: listed.encode()}, by=world.ada)
    assert world.fetch().commit == since
    (world.state / "clock").write_text(f"{today + dt.timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}")
    return world, world.push(since, {}, by=world.ci)


def test_an_expired_key_succeeds_when_nobody_remembers_the_time(expired: tuple[World, str]) -> None:
    """With the host's memory gone, its clock is all that there is."""
    world, evil = expired
    (world.state / "clock").unlink()

    assert world.fetch(world.root).commit == evil


def test_an_expired_key_is_refused_though_the_clock_went_back(expired: tuple[World, str]) -> None:
    """Nothing at all is decided by such a clock, and the message says what to do."""
    world, _ = expired

    with pytest.raises(ClockWrong, match="it went back") as wrong:
        world.fetch(world.root)

    assert str(world.state / "clock") in wrong.value.hint


@pytest.mark.parametrize("hours", [-3, 3])
async def test_a_clock_that_the_api_server_contradicts_is_refused(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Nothing is written, neither to the cluster nor to the ledger, whichever of the two is wrong."""
    await world.deploy()
    before = world.receipts()
    world.push_objects("web", config_map("web", {"a": "1"}))
    real = Cluster.__dict__["clock"].fget

    def other(cluster: Cluster) -> dt.datetime | None:
        told: dt.datetime | None = real(cluster)
        return told + dt.timedelta(hours=hours) if told else None

    monkeypatch.setattr(Cluster, "clock", property(other))
    for order in (world.deploy, world.resync):
        with pytest.raises(ClockWrong, match="the API server's"):
            await order()

    assert world.get("ConfigMap", "web") is None
    assert world.receipts() == before
    monkeypatch.undo()
    assert (await world.deploy()).said == "deployed"


async def test_a_clock_before_the_last_receipt_is_refused(world: ClusterWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ledger, which another host may have written, and which the API server cannot be asked about."""
    await world.deploy()
    world.push_objects("web", config_map("web", {"a": "1"}))

    class Earlier(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Earlier:
            real = dt.datetime.now(tz) - dt.timedelta(hours=1)
            return cls.fromtimestamp(real.timestamp(), tz)

    class Fake:
        datetime, UTC, timedelta = Earlier, dt.UTC, dt.timedelta

    monkeypatch.setattr(clock, "dt", Fake)
    monkeypatch.setattr(Cluster, "clock", property(lambda _: None))
    with pytest.raises(ClockWrong, match="before the last receipt"):
        await world.deploy()

    assert world.get("ConfigMap", "web") is None
