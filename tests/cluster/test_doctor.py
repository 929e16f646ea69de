"""`interlock doctor` on a CD host: each check of a sound host passes, and each thing that is broken has its fix."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.contract.doctor import Check
from tasks.cd import cluster as requests
from tasks.cd import doctor
from tests.cluster.worlds import World
from tests.unit.cli.commands import program

PREFECTS = {"Prefect", "pools and deployments", "worker"}
"""There is none in these tests."""


@pytest.fixture
def looked(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Check]]:
    monkeypatch.setenv("INTERLOCK_CONFIG", str(world.config))
    return lambda: {each.name: each for each in doctor.checks()}


async def test_a_sound_host_passes(world: World, tmp_path: Path) -> None:
    """By the command: a line a check, and the fixes of what is not there."""
    await world.deploy()

    done = program("doctor", folder=tmp_path, env={"INTERLOCK_CONFIG": str(world.config)})

    assert done.returncode == 1, done.stderr
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for name in ("host file", "state folder", "signing key", "environment repository", "ledger", "cluster sandbox"):
        assert " ok " in lines[name], done.stdout
    assert " ok " in lines["rights of dev"]
    assert re.search(r"clocks \d+ s apart", lines["cluster sandbox"])
    assert {name for name, line in lines.items() if " WRONG " in line} <= PREFECTS


async def test_what_is_broken_is_told_with_its_fix(
    world: World, looked: Callable[[], dict[str, Check]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and accounts that others may read, a ledger that lost receipts, a clock that is wrong."""
    await world.deploy()
    assert {each.name for each in looked().values() if not each.well} <= PREFECTS
    host = world.host
    host.signing.key.chmod(0o644)
    (host.ledger.auth or Path()).chmod(0o666)
    branch = world.ledger.bare / "refs" / "heads" / "main"
    branch.unlink()
    later = property(lambda self: dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5))
    monkeypatch.setattr(requests.Cluster, "clock", later)

    found = looked()

    try:
        assert not found["signing key"].well and "0600" in found["signing key"].fix
        assert not found["account for the ledger"].well
        assert not found["cluster sandbox"].well and "clock" in found["cluster sandbox"].said
        assert not found["ledger"].well
    finally:
        (host.ledger.auth or Path()).chmod(0o600)
    assert looked()["ledger"].fix == "interlock ledger verify"


def test_a_wrong_file_is_one_line(world: World, tmp_path: Path) -> None:
    """The host's file itself is the first check; without it there is nothing else to look at."""
    value = json.loads(json.dumps(world.host.model_dump(mode="json", exclude_unset=True)))
    world.config.write_text(json.dumps({**value, "pol_seconds": 1}, indent=1))

    done = program("doctor", "--output", "json", folder=tmp_path, env={"INTERLOCK_CONFIG": str(world.config)})

    assert done.returncode == 1
    (check,) = json.loads(done.stdout)["checks"]
    assert (check["name"], check["well"]) == ("host file", False) and "pol_seconds" in check["said"]
