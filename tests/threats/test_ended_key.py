"""A key turns out to be stolen, and what it signed before that was known stays deployed, and trusted.

Number: 24
Defence: a key that is listed as compromised is asked of every commit since the last that counts, also of those that
passed long ago (interlock/contract/verification.py, tasks/common/environment_repository.py); the verified head and
the root pin's keys are judged on every run. Untrusted freezes: nothing is written, undone or pruned (flows/cd/walk.py).
Not defended: what the thief deployed stays in the cluster until people have looked at it, because taking it away by
itself would be a weapon of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from interlock.contract import layout, verification
from interlock.errors import Refused, Untrusted
from tests.cluster.worlds import World, config_map, manifest_path
from tests.git.conftest import Key


def signers(world: World, *more: dict[str, object], ended: tuple[dict[str, object], ...] = ()) -> dict[str, str]:
    ada = {"name": "ada", "key": world.repository.key.public, "writes": ["**"], "approves": True}
    return {layout.SIGNERS: yaml.safe_dump({"format": 1, "signers": [ada, *more], "ended": list(ended)})}


def by(world: World, key: Key, changes: dict[str, str]) -> str:
    """A pushed commit by somebody else."""
    own, world.repository.key = world.repository.key, key
    try:
        return world.push(changes)
    finally:
        world.repository.key = own


@pytest.fixture
def bob(tmp_path: Path) -> Key:
    return Key.make(tmp_path / "bob")


async def stolen(world: World, bob: Key) -> str:
    """Bob's key signs something that is deployed; then it is known to be stolen. Gives the last commit without it."""
    world.push(signers(world, {"name": "bob", "key": bob.public, "writes": ["**"]}))
    good = world.push_objects("web", config_map("web", {"a": "good"}))
    by(world, bob, {manifest_path("web"): yaml.safe_dump(config_map("web", {"a": "evil"}))})
    assert (await world.deploy()).said == "deployed"
    world.push(signers(world, ended=({"name": "bob", "key": bob.public, "compromised": good},)))
    return good


def patch(world: World, value: str) -> None:
    world.merge(world.path("configmaps", "web"), {"data": {"a": value}})


def value(world: World) -> str:
    live = world.get("ConfigMap", "web")
    assert live is not None
    return str(live["data"]["a"])


async def test_what_a_stolen_key_signed_succeeds_while_only_new_commits_are_judged(
    world: World, bob: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a key's change is not evaluated again: the thief's work is kept up against whoever mends it by hand."""
    monkeypatch.setattr(verification, "newly_compromised", lambda *_: ())
    await stolen(world, bob)
    assert (await world.deploy()).said in ("in sync", "deployed")
    patch(world, "mended by hand")

    await world.resync()

    assert value(world) == "evil"


async def test_an_environment_with_a_stolen_keys_work_is_frozen(world: World, bob: Key) -> None:
    """Neither deployed nor kept up, until it is undone and an approver says that all up to there was looked at."""
    await stolen(world, bob)
    for order in (world.deploy, world.resync, world.deploy):
        with pytest.raises(Untrusted) as untrusted:
            await order()
        assert untrusted.value.rule == "key-compromised"
    patch(world, "mended by hand")
    with pytest.raises(Untrusted):
        await world.resync()
    assert value(world) == "mended by hand"
    assert [kind for kind, outcome in world.receipts() if outcome == "key-compromised"] == ["refusal"]

    undone = world.push_objects("web", config_map("web", {"a": "good"}))
    with pytest.raises(Refused):
        await world.deploy()
    world.push(signers(world, ended=({"name": "bob", "key": bob.public, "compromised": undone},)))

    assert (await world.deploy()).said == "deployed"
    assert value(world) == "good"


async def test_a_retired_keys_work_stays_trusted(world: World, bob: Key) -> None:
    """Bob's commit was seen; that he has another key now, or none, stops nothing."""
    world.push(signers(world, {"name": "bob", "key": bob.public, "writes": ["**"]}))
    last = by(world, bob, {manifest_path("web"): yaml.safe_dump(config_map("web", {"a": "good"}))})
    await world.deploy()
    world.push(signers(world, ended=({"name": "bob", "key": bob.public, "retired": last},)))

    assert (await world.deploy()).said in ("in sync", "deployed")
    patch(world, "drifted")
    await world.resync()
    assert value(world) == "good"


async def test_a_verified_head_that_nobody_signed_is_refused(world: World, tmp_path: Path) -> None:
    """Who moves the host's mark and the cluster's record to a commit of theirs has not made it a good one."""
    await world.deploy()
    evil = by(world, Key.make(tmp_path / "evil"), {manifest_path("web"): yaml.safe_dump(config_map("web", {}))})
    mark = world.host.state / "marks" / "dev.json"
    mark.write_text(mark.read_text().replace(world.mark()["verified"], evil))

    with pytest.raises(Untrusted) as untrusted:
        await world.deploy()

    assert untrusted.value.rule == "unknown-key"
    assert world.get("ConfigMap", "web") is None
