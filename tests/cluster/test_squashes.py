"""A squashed request is deployed when the forge has been asked for its reviews, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from interlock.contract import layout
from interlock.errors import ForgeError, Refused
from tasks.common import git
from tests.cluster.people import make_people
from tests.cluster.worlds import World, config_map, manifest_path
from tests.forges.reviewing import USERS, Given, Pull, Reviewing, reviewing
from tests.git.conftest import Key


def value(world: World) -> str:
    live = world.get("ConfigMap", "base")
    assert live is not None
    return str(live["data"]["a"])


def merged(world: World, folder: Path, forge: Reviewing) -> str:
    """ben and dora have accounts, the forge a key; dora's request, which ben approved, is squashed on the branch."""
    accounts = {name: [{"forge": forge.url, "name": f"{name}-h", "id": USERS[f"{name}-h"]}] for name in ("ben", "dora")}
    people, key = make_people(world, folder, None, accounts), Key.make(folder / "forge-key")
    signers = yaml.safe_load(people.signers(None))
    entry = {"name": "forge", "key": key.public, "machine": True, "forge": forge.url, "writes": ["environments/**"]}
    signers["signers"].append(entry)
    base = people.push({layout.SIGNERS: yaml.safe_dump(signers)}, by="ada")

    repository = world.repository
    changes: dict[str, bytes | None] = {manifest_path("base"): yaml.safe_dump(config_map("base", {"a": "2"})).encode()}
    head = repository.write(base, changes, by=people.keys["dora"], message="dora's")
    git.push(repository.mirror, head, repository.remote.model_copy(update={"branch": "topic"}), expected=None)
    world.head = repository.write(base, changes, by=key, message="Merge (#7)")
    forge.pulls = [Pull(7, "dora-h", [head], [Given("ben-h", head)], squashed=world.head)]
    return head


async def test_a_squashed_request_waits_for_the_forge_and_is_deployed(world: World, tmp_path: Path) -> None:
    """While the forge is away nothing of it is deployed, drift is undone as ever, and it counts when it answers."""
    await world.deploy()
    with reviewing("github") as forge:
        base = world.head
        head = merged(world, tmp_path, forge)
        made, world.head = world.head, base
        (world.repository.bare / "refs" / "pull" / "7").mkdir(parents=True)
        (world.repository.bare / "refs" / "pull" / "7" / "head").write_text(f"{head}\n")
        parent = git.read_commits(world.repository.mirror, None, made)[-2].id
        git.push(world.repository.mirror, made, world.repository.remote, expected=parent)
        world.head = made
        with pytest.raises(Refused, match="not asked for here"):
            await world.deploy()

        settings = yaml.safe_load(world.config.read_text())
        settings["environment_repository"]["reviews"] = forge.account(tmp_path / "token").model_dump(mode="json")
        world.config.write_text(yaml.safe_dump(settings))
        forge.failing = 404
        world.merge(world.path("configmaps", "base"), {"data": {"a": "by hand"}})
        with pytest.raises(ForgeError):
            await world.deploy()
        with pytest.raises(ForgeError):
            await world.resync()
        assert value(world) == "1"

        forge.failing = 0
        assert (await world.deploy()).said == "deployed"
    assert (value(world), world.mark()["deployed"]) == ("2", made)
