"""`interlock why` on a CD host: the first gate that holds a change, at a real cluster, ledger and repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import Blocked
from tests.cluster.test_trace import image_of, release_of
from tests.cluster.test_trace import released as released  # noqa: PLC0414 - a fixture
from tests.cluster.worlds import World, config_map
from tests.unit.cli.commands import Done, program


def why(world: World, folder: Path, *words: str) -> Done:
    return program("why", *words, folder=folder, env={"INTERLOCK_CONFIG": str(world.config)})


def told(world: World, folder: Path, what: str) -> Any:
    done = why(world, folder, what, "--output", "json")
    (report,) = json.loads(done.stdout)
    return {**report["data"], "code": done.returncode}


async def test_a_release_is_followed_until_it_is_live_and_replaced(released: World, tmp_path: Path) -> None:
    """Before its sync, after it, by source, commit and application, and when a newer release took its place."""
    world = released
    await world.deploy()
    commit = world.push(release_of(image_of("1a")))

    waiting = told(world, tmp_path, "5555555")
    assert (waiting["code"], waiting["first"]["name"]) == (1, "applied")
    assert waiting["first"]["command"] == "interlock sync dev"
    states = {gate["name"]: gate["state"] for gate in waiting["gates"]}
    assert {states[name] for name in ("source", "CI run", "gate", "release", "verified", "environment")} == {"passes"}
    assert {states[name] for name in ("freeze", "approvals", "rendered", "plan")} == {"unknown"}

    await world.deploy()
    for what in ("5555555", commit[:10], "shop"):
        live = told(world, tmp_path, what)
        assert (live["code"], live["live"], live["first"]) == (0, True, None), what

    world.push(release_of(image_of("2b"), "6" * 40))
    await world.deploy()
    replaced = told(world, tmp_path, "5555555")
    assert replaced["first"]["name"] == "healthy"
    assert f"shop/web is at source {'6' * 12} now" in replaced["first"]["said"]


async def test_a_source_commit_that_nobody_released_waits_for_ci(released: World, tmp_path: Path) -> None:
    """CD's host says what it cannot see and where to ask, and that no release commit is there."""
    await released.deploy()

    found = told(released, tmp_path, "abcdef0")

    assert found["first"]["name"] == "release"
    assert found["gates"][0]["command"] == "on CI's host: interlock why abcdef0"


async def test_a_plan_over_the_budget_is_named_with_its_allowance(world: World, tmp_path: Path) -> None:
    """Who may write the environment's file lifts it, by the very line that the run gave."""
    world.push_objects("many", *(config_map(f"many-{number}", {}) for number in range(12)))
    await world.deploy()
    commit = world.remove("many")
    with pytest.raises(Blocked):
        await world.deploy()

    done = why(world, tmp_path, commit[:9])

    assert done.returncode == 1, done.stderr
    assert f"commit {commit[:12]} in dev: held at: plan" in done.stdout
    assert "12 of 13 objects would be deleted" in done.stdout
    assert "who: ada, who may write environments/dev/environment.yaml" in done.stdout
    assert "next: if that is meant, allow just this" in done.stdout


async def test_a_refused_commit_is_held_at_its_rule(world: World, tmp_path: Path) -> None:
    """The reason of this moment, also before any run tried it."""
    await world.deploy()
    commit = world.push({"policy/rules.yaml": "format: 1\nruls: []\n"})

    found = told(world, tmp_path, commit)

    assert found["first"]["name"] == "verified"
    assert "policy/rules.yaml" in found["first"]["said"]


def test_what_nobody_knows_is_an_error(world: World, tmp_path: Path) -> None:
    """A word that is no commit and no application."""
    done = why(world, tmp_path, "nothing-of-that-name")

    assert done.returncode == 2
    assert "no commit, and no application of dev" in done.stderr
