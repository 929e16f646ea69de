"""What the worker's own clock starts: the same resync, without Prefect."""

from __future__ import annotations

import pytest

from flows.cd import own_clock
from interlock.errors import Refused
from tasks.cd import ledger, looked
from tests.cluster.worlds import World, config_map


def test_it_deploys_a_new_commit_and_says_who_asked(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With lock, checks and ledger; afterwards the environment counts as looked at. A refused commit is one too."""
    monkeypatch.setenv("INTERLOCK_CONFIG", str(world.config))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert looked.seconds_ago(world.host.state, "dev") is None
    world.push_objects("more", config_map("more", {"a": "1"}))

    assert own_clock.run("dev") == 0

    assert world.get("ConfigMap", "more") is not None
    actors = {
        entry.statement.actor
        for entry in ledger.read.fn(world.host.ledger, "dev", state=world.host.state, keys=ledger.keys_of(world.host))
    }
    assert own_clock.ACTOR in actors
    assert f"dev, by {own_clock.ACTOR}: dev deployed at {world.head[:12]}" in caplog.text
    age = looked.seconds_ago(world.host.state, "dev")
    assert age is not None

    world.force(world.root)
    assert own_clock.run("dev") == Refused.exit_code
    assert "rewritten" in caplog.text or "verified head" in caplog.text
