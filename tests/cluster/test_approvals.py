"""An environment that asks for approvals is changed when people have agreed, and not before."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import yaml

from interlock.contract import approvals, layout
from interlock.contract.forge import ForgeAccount
from interlock.errors import AwaitsApproval
from tasks.cd import ledger
from tests.cluster.people import NO_ACCOUNTS, Accounts, People, make_people
from tests.cluster.worlds import Recorder, World, config_map, manifest_path
from tests.forges.reviewing import USERS, Given, Pull, reviewing
from tests.unit.cli.commands import program


def changed(value: str) -> dict[str, str | None]:
    return {manifest_path("base"): yaml.safe_dump(config_map("base", {"a": value}))}


async def deployed(world: World, folder: Path, rule: dict[str, object], accounts: Accounts = NO_ACCOUNTS) -> People:
    """The world's first state is deployed; then the rule is there, and what its commit waits for is given."""
    await world.deploy()
    first = world.head
    people = make_people(world, folder, rule, accounts)
    for name in ("ben", "cleo"):
        people.approve(name, deployed=first)
    await world.deploy()
    return people


def value(world: World) -> str:
    live = world.get("ConfigMap", "base")
    assert live is not None
    return str(live["data"]["a"])


async def test_a_change_waits_and_goes_on_with_the_last_approval(world: World, tmp_path: Path) -> None:
    """Nothing is written until as many have agreed as are asked; who may, and how, is said."""
    people = await deployed(world, tmp_path, {"required": 2})
    before = world.head
    people.push(changed("2"))

    presenter = Recorder()
    with pytest.raises(AwaitsApproval, match="waits for approvals:\n  - 2 approvals of ada, ben, cleo") as waits:
        await world.deploy(presenter)
    assert waits.value.hint == f"ada, ben, cleo: interlock approve dev --deployed {before}"
    assert presenter.report("plan").title.endswith("1 to change")
    told = presenter.report("approvals").data
    assert isinstance(told, dict)
    assert told["changed"] == [manifest_path("base")]
    assert (value(world), world.mark()["verified"]) == ("1", before)

    people.approve("ben", deployed=before)
    with pytest.raises(AwaitsApproval, match="1 approval of ada, ben, cleo"):
        await world.deploy()
    assert value(world) == "1"

    people.approve("cleo", deployed=before)
    assert (await world.deploy()).said == "deployed"
    *_, seen, intent, _ = ledger.read.fn(
        world.host.ledger, "dev", state=world.host.state, keys=ledger.keys_of(world.host)
    )
    assert (seen.statement.kind, [each.person for each in seen.statement.approvals]) == ("approval", ["ben", "cleo"])
    assert intent.statement.approvals == seen.statement.approvals
    assert (value(world), world.mark()["deployed"]) == ("2", world.head)


async def test_waiting_is_told_to_the_ledger_once(world: World, tmp_path: Path) -> None:
    """However often a run finds that it waits, the ledger has it once."""
    people = await deployed(world, tmp_path, {"required": 1})
    people.push(changed("2"))
    before = world.receipts()
    for _ in range(2):
        with pytest.raises(AwaitsApproval):
            await world.deploy()

    assert world.receipts()[len(before) :] == [("refusal", "approvals")]


async def test_what_is_deployed_is_kept_while_the_next_change_waits(world: World, tmp_path: Path) -> None:
    """A resync undoes what somebody changed by hand at the deployed commit, and says then what waits."""
    people = await deployed(world, tmp_path, {"required": 1})
    people.push(changed("2"))
    world.merge(world.path("configmaps", "base"), {"data": {"a": "by hand"}})

    with pytest.raises(AwaitsApproval):
        await world.resync()

    assert value(world) == "1"


async def test_the_rule_waits_for_itself(world: World, tmp_path: Path) -> None:
    """A commit that brings the rule needs the approval already, and its taking away that of the rule before."""
    await world.deploy()
    before = world.head
    people = make_people(world, tmp_path, {"required": 1})
    with pytest.raises(AwaitsApproval, match="1 approval of ben, cleo"):
        await world.deploy()
    people.approve("ben", deployed=before)
    await world.deploy()

    people.push({layout.SIGNERS: people.signers(None), **changed("2")}, by="ada")
    with pytest.raises(AwaitsApproval, match="1 approval of ben, cleo"):
        await world.deploy()
    assert value(world) == "1"


async def test_an_approval_that_ended_does_not_count(world: World, tmp_path: Path) -> None:
    """It is named with its end, and who gave it may give another one."""
    people = await deployed(world, tmp_path, {"required": 1})
    before = world.head
    people.push(changed("2"))
    people.approve("ben", deployed=before, given=dt.datetime.now(dt.UTC) - dt.timedelta(hours=2))

    presenter = Recorder()
    with pytest.raises(AwaitsApproval):
        await world.deploy(presenter)

    (given,) = presenter.report("approvals").tables[0].rows
    assert (given[0], given[3].startswith("no: ended at 20")) == ("ben", True)
    assert value(world) == "1"


async def test_a_host_says_what_waits(world: World, tmp_path: Path) -> None:
    """`interlock approvals` and `status` on CD's host say the same as its runs; `sync` ends with a code of its own."""
    people = await deployed(world, tmp_path, {"required": 1})
    before = world.head
    people.push(changed("2"))
    environment = {"INTERLOCK_CONFIG": str(world.config)}

    done = program("sync", "dev", folder=tmp_path, env=environment)
    assert (done.returncode, "waits for approvals" in done.stderr) == (6, True), done.stderr
    done = program("approvals", "dev", "--output", "json", folder=tmp_path, env=environment)
    (report,) = json.loads(done.stdout)
    found = report["data"]
    assert (found["deployed"], found["may"], found["approved"]) == (before, ["ada", "ben", "cleo"], False)
    done = program("status", "dev", folder=tmp_path, env=environment)
    assert done.stdout.startswith("dev: awaiting approval\n")
    assert done.returncode == 1

    people.approve("ben", deployed=before)
    done = program("approvals", folder=tmp_path, env=environment)
    assert "approved" in done.stdout


async def test_a_review_on_the_forge_is_waited_for_and_counts(world: World, tmp_path: Path) -> None:
    """Where rule and host take reviews; a forge that is away is waited for, and the ledger says whose word it was."""
    with reviewing("gitea") as forge:
        accounts = {
            name: [{"forge": forge.url, "name": f"{name}-h", "id": USERS[f"{name}-h"]}] for name in ("ben", "dora")
        }
        people = await deployed(world, tmp_path, {"required": 1, "reviews": True}, accounts)
        before = world.head
        commit = people.push(changed("2"))
        given = Given("ben-h", commit, at=approvals.spelt(dt.datetime.now(dt.UTC)))
        forge.pulls = [Pull(7, "dora-h", [commit], [given])]

        with pytest.raises(AwaitsApproval):
            await world.deploy()
        assert forge.requests == []
        believe(world, forge.account(tmp_path / "token"))
        forge.failing = 404
        presenter = Recorder()
        with pytest.raises(AwaitsApproval, match="1 approval of ada, ben, cleo"):
            await world.deploy(presenter)
        told = presenter.report("approvals").data
        assert isinstance(told, dict)
        assert "the forge could not be asked" in told["approvals"][0]["counts"]
        assert (value(world), world.mark()["deployed"]) == ("1", before)

        forge.failing = 0
        assert (await world.deploy()).said == "deployed"
    *_, seen, intent, _ = ledger.read.fn(
        world.host.ledger, "dev", state=world.host.state, keys=ledger.keys_of(world.host)
    )
    (agreed,) = seen.statement.approvals
    assert (agreed.person, agreed.review) == ("ben", "review of request 7 by ben-h (id 12)")
    assert intent.statement.approvals == seen.statement.approvals
    assert value(world) == "2"


def believe(world: World, account: ForgeAccount) -> None:
    """cd.yaml names the forge whose reviews are asked for."""
    settings = yaml.safe_load(world.config.read_text())
    settings["environment_repository"]["reviews"] = account.model_dump(mode="json")
    world.config.write_text(yaml.safe_dump(settings))
