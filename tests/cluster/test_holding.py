"""What a host freezes or denies is not deployed, and what is deployed is kept up, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.contract import signature
from interlock.errors import HostConfigError, Refused
from tasks.cd import freezes
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment, service

CAUSE = "branch-protection"


def denied(world: World, *arguments: str) -> int:
    return main(["deny", *arguments, "--config", str(world.config)])


def data(world: World, name: str) -> Any:
    found = world.get("ConfigMap", name)
    return found and found["data"]


async def test_a_frozen_environment_gets_nothing_new(world: World) -> None:
    """A commit waits while a freeze lasts, is told to the ledger once, and is deployed when it is lifted."""
    await world.deploy()
    deployed = world.head
    world.push_objects("more", config_map("more", {"a": "1"}))
    assert freezes.put(world.host.state, "dev", cause=CAUSE, reason="force pushes are allowed", hint="forbid them")
    assert not freezes.put(world.host.state, "dev", cause=CAUSE, reason="force pushes are allowed", hint="forbid them")

    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await world.deploy()

    assert refused.value.rule == "frozen" and refused.value.hint == "forbid them"
    assert f"{deployed[:12]} is kept up: branch-protection" in refused.value.message
    assert world.get("ConfigMap", "more") is None
    assert world.receipts()[-1] == ("hold", "frozen") and world.receipts()[-2] == ("result", "healthy")
    assert freezes.lift(world.host.state, "dev", cause=CAUSE) and not freezes.lift(world.host.state, "dev", cause=CAUSE)
    assert (await world.deploy()).said == "deployed"
    assert data(world, "more") == {"a": "1"}
    held = [each for each in world.receipts() if each[0] == "hold"]
    assert held == [("hold", "frozen"), ("hold", "lifted")]


async def test_drift_is_undone_while_an_environment_is_frozen(world: World) -> None:
    """A resync undoes drift at the deployed commit, whether there is a newer commit or not."""
    await world.deploy()
    freezes.put(world.host.state, "dev", cause=CAUSE, reason="reviews are no longer required")
    world.merge(world.path("configmaps", "base"), {"data": {"a": "changed"}})

    presenter = Recorder()
    assert (await world.resync(presenter)).said == "drift undone"
    assert any("dev is frozen" in note for note in presenter.notes)
    world.push_objects("more", config_map("more", {"a": "1"}))
    world.merge(world.path("configmaps", "base"), {"data": {"a": "changed again"}})
    with pytest.raises(Refused):
        await world.resync()

    assert data(world, "base") == {"a": "1"} and data(world, "more") is None


async def test_a_plan_of_a_frozen_environment_is_shown(world: World) -> None:
    """It writes nothing, and says that it would be refused."""
    await world.deploy()
    world.push_objects("more", config_map("more", {"a": "1"}))
    freezes.put(world.host.state, "dev", cause=CAUSE, reason="reviews are no longer required")

    presenter = Recorder()
    plan = await world.plan(presenter)

    assert [item.identity.name for item in plan.writes] == ["more"]
    assert any("dev is frozen" in note for note in presenter.notes)


async def test_a_plan_that_differs_is_told_to_the_ledger_once(world: World) -> None:
    """Who looks at what before a sync stands in the ledger, and a plan without changes does not."""
    await world.deploy()
    before = len(world.receipts())
    await world.plan()
    world.push_objects("more", config_map("more", {"a": "1"}))

    await world.plan()
    await world.plan()

    assert world.receipts()[before:] == [("plan", "looked-at")]


async def test_a_freeze_that_cannot_be_read_freezes(world: World) -> None:
    """Whatever lies in the folder of freezes counts."""
    await world.deploy()
    folder = world.host.state / "freezes" / "dev"
    folder.mkdir(parents=True)
    (folder / "clock.json").write_text("{")
    world.push_objects("more", config_map("more", {"a": "1"}))

    with pytest.raises(Refused, match="cannot be read"):
        await world.deploy()


async def test_a_denied_commit_is_deployed_when_it_is_undone(world: World) -> None:
    """Neither it nor what comes after it is deployed, until a commit brings back what it changed."""
    await world.deploy()
    bad = world.push_objects("bad", config_map("bad", {"a": "1"}))
    assert denied(world, "add", bad, "--reason", "opens the database") == 0
    world.push_objects("other", config_map("other", {"a": "1"}))

    with pytest.raises(Refused, match=r"opens the database.*still has what it made of .*bad\.yaml") as refused:
        await world.deploy()
    assert refused.value.rule == "denied" and world.get("ConfigMap", "bad") is None
    world.merge(world.path("configmaps", "base"), {"data": {"a": "changed"}})
    with pytest.raises(Refused):
        await world.resync()
    assert data(world, "base") == {"a": "1"}

    world.remove("bad")
    await world.deploy()
    assert data(world, "other") == {"a": "1"} and world.get("ConfigMap", "bad") is None


async def test_a_deployed_commit_that_is_denied_is_not_kept_up(world: World) -> None:
    """Nothing of it is written again, nothing is rolled back, and who allows it again gets it all."""
    await world.deploy()
    bad = world.push_objects("bad", config_map("bad", {"a": "1"}))
    await world.deploy()
    assert denied(world, "add", bad, "--reason", "opens the database") == 0
    world.delete(world.path("configmaps", "bad"))

    with pytest.raises(Refused):
        await world.resync()
    assert world.get("ConfigMap", "bad") is None and data(world, "base") == {"a": "1"}

    assert denied(world, "remove", bad) == 0
    await world.resync()
    assert data(world, "bad") == {"a": "1"}


async def test_a_denied_digest_is_in_no_object(world: World) -> None:
    """It is refused wherever it stands in an object, with the object's name; another digest is deployed."""
    await world.deploy()
    digest = IMAGE.partition("@")[2]
    assert denied(world, "add", digest, "--reason", "the build host was broken into") == 0
    world.push_objects("web", deployment(), service())

    with pytest.raises(Refused, match=rf"digest {digest} is denied.*Deployment/{world.namespace}/web names it"):
        await world.deploy()
    assert world.get("Deployment", "web", "apps/v1") is None

    other = IMAGE.partition("@")[0] + "@sha256:" + "2b" * 32
    world.push_objects("web", deployment(image=other), service())
    await world.deploy()
    assert world.get("Deployment", "web", "apps/v1") is not None


async def test_commits_of_a_denied_key_are_refused(world: World) -> None:
    """Also without a commit that takes the key out of trust/signers.yaml."""
    await world.deploy()
    fingerprint = signature.fingerprint(world.repository.key.public)
    assert denied(world, "add", fingerprint, "--reason", "the laptop was stolen") == 0
    world.push_objects("more", config_map("more", {"a": "1"}))

    with pytest.raises(Refused, match="of ada is signed by it"):
        await world.deploy()


async def test_a_deny_list_that_is_not_roots_alone_stops_everything(world: World, tmp_path: Path) -> None:
    """Who could empty it would get past it: such a list is an error of the host, and nothing is deployed."""
    await world.deploy()
    assert denied(world, "add", "0" * 40, "--reason", "an example") == 0
    (tmp_path / "deny.yaml").chmod(0o666)
    world.push_objects("more", config_map("more", {"a": "1"}))

    with pytest.raises(HostConfigError, match="writable for others"):
        await world.deploy()
    assert world.get("ConfigMap", "more") is None


def test_the_list_is_shown_added_to_and_removed_from(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each entry with kind, time and reason; the same twice is one; what is nothing of the three is an error."""
    digest = "sha256:" + "1a" * 32
    assert denied(world, "list") == 0
    assert denied(world, "add", digest, "--reason", "broken") == denied(world, "add", digest, "--reason", "x") == 0
    capsys.readouterr()

    assert denied(world, "list", "--output", "json") == 0
    (entry,) = json.loads(capsys.readouterr().out)["denied"]
    assert (entry["digest"], entry["reason"]) == (digest, "broken") and entry["since"].endswith("Z")
    assert denied(world, "add", "main", "--reason", "x") == 2
    assert "is no commit id" in capsys.readouterr().err
    assert denied(world, "remove", digest) == 0 and denied(world, "remove", digest) == 2
    assert (world.host.deny_list.stat().st_mode & 0o777) == 0o644
