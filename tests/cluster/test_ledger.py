"""What an environment's life leaves in the ledger, and what becomes of it when a run, the ledger or a cluster dies."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interlock.cd.receipts import Entry, Statement
from interlock.contract import signature
from interlock.errors import Blocked, GitError, Refused
from tasks.cd import ledger
from tests.cluster.worlds import Recorder, World, config_map
from tests.unit.cli.commands import Done, program


def receipts(world: World) -> tuple[Entry, ...]:
    return ledger.read.fn(world.host.ledger, "dev", state=world.host.state, keys=ledger.keys_of(world.host))


def verify(world: World, folder: Path, *words: str) -> Done:
    return program("ledger", "verify", *words, folder=folder, env={"INTERLOCK_CONFIG": str(world.config)})


def configure(world: World, **said: object) -> None:
    """cd.yaml with more in its ledger."""
    value = world.host.model_dump(mode="json", exclude_unset=True)
    value["ledger"] |= said
    world.config.write_text(json.dumps(value))


@contextmanager
def away(world: World) -> Iterator[None]:
    """The ledger's server says that it is out of order."""
    bare = world.ledger.bare
    gone = bare.with_suffix(".gone")
    bare.rename(gone)
    configure(world, url=world.ledger.remote.url.replace(str(world.ledger.server.port), "9"))
    try:
        yield
    finally:
        gone.rename(bare)
        configure(world, url=world.ledger.remote.url)


def interrupt(world: World, *, commit: str) -> Entry:
    """What a run leaves that was killed after its intent."""
    statement = Statement(
        kind="intent", environment="dev", environment_id=world.environment_id, actor="x", run="killed", commit=commit
    )
    return ledger.append.fn(world.host.ledger, statement, state=world.host.state, key=world.host.signing.key)


async def test_a_receipt_says_who_what_and_which_objects(world: World) -> None:
    """Who signed comes from signatures, beside whoever asked; the objects that change are named."""
    first = world.head
    await world.deploy()
    second, third = world.push_objects("a", config_map("a", {})), world.push_objects("b", config_map("b", {}))
    await world.deploy()

    begun, _, intent, result = (entry.statement for entry in receipts(world))

    assert [(each.commit, each.signer) for each in begun.commits] == [(first, "ada")]
    assert [(each.commit, each.signer) for each in intent.commits] == [(third, "ada"), (second, "ada")]
    assert intent.commits[0].key == signature.fingerprint(world.repository.key.public)
    assert (intent.commit, intent.verified, intent.deployed) == (third, third, first)
    names = {f"ConfigMap/{world.namespace}/{name}" for name in "ab"}
    assert {(each.action, each.object) for each in intent.objects} == {("create", name) for name in names}
    assert (result.objects, result.plan, result.outcome) == (intent.objects, intent.plan, "healthy")


async def test_the_record_has_a_checkpoint_of_the_ledger(world: World) -> None:
    """After a sync the cluster's record and the host's mark know its last receipt."""
    await world.deploy()

    last, record = receipts(world)[-1], world.stored().record

    assert record is not None
    assert (record.receipts, record.receipt) == (2, last.digest)
    assert (world.mark()["receipts"], world.mark()["receipt"]) == (2, last.digest)


async def test_a_plan_that_is_held_back_is_told_once(world: World) -> None:
    """A plan over the budget writes nothing but a receipt: what it would have done, and why it was not begun."""
    many = [config_map(f"many-{number}", {}) for number in range(12)]
    world.push_objects("many", *many)
    await world.deploy()
    world.remove("many")

    for _ in range(2):
        with pytest.raises(Blocked):
            await world.deploy()

    *_, healthy, held = receipts(world)
    assert healthy.statement.outcome == "healthy" and held.number == 3
    assert (held.statement.kind, held.statement.outcome, held.statement.commit) == ("plan", "over-budget", world.head)
    assert "12 of 13 objects" in held.statement.note
    assert {each.action for each in held.statement.objects} == {"prune"} and len(held.statement.objects) == 12


async def test_a_refusal_names_the_commit_that_was_refused(world: World) -> None:
    """Not only the rule: also which commit, which never became the verified head."""
    await world.deploy()
    deployed = world.head
    refused = world.push({"policy/rules.yaml": "format: 1\nruls: []\n"})

    with pytest.raises(Exception, match=r"policy/rules\.yaml"):
        await world.deploy()

    said = receipts(world)[-1].statement
    assert (said.kind, said.commit, said.verified) == ("refusal", refused, deployed)


async def test_the_next_sync_closes_an_interrupted_one(world: World) -> None:
    """An intent whose run was killed gets a result before the next intent."""
    await world.deploy()
    world.push_objects("a", config_map("a", {}))
    orphan = interrupt(world, commit=world.head)

    await world.deploy()

    *_, closed, intent, result = receipts(world)
    assert (closed.statement.outcome, closed.statement.intent) == ("interrupted", orphan.digest)
    assert "killed" in closed.statement.note
    assert (intent.statement.kind, result.statement.outcome) == ("intent", "healthy")


async def test_a_run_with_nothing_to_write_closes_an_interrupted_one(world: World) -> None:
    """Killed after its last write: the next run finds all as Git says, and closes the intent all the same, once."""
    await world.deploy()
    orphan = interrupt(world, commit=world.head)

    assert (await world.resync()).said == "in sync"
    assert (await world.resync()).said == "in sync"

    assert len(receipts(world)) == 4
    assert receipts(world)[-1].statement.intent == orphan.digest


async def test_while_the_ledger_is_away_nothing_is_applied(world: World, tmp_path: Path) -> None:
    """By default no sync begins that could not be told."""
    await world.deploy()
    world.push_objects("a", config_map("a", {}))

    with away(world):
        with pytest.raises(GitError):
            await world.deploy()
        assert verify(world, tmp_path).returncode == GitError.exit_code

    assert world.get("ConfigMap", "a") is None
    assert (await world.deploy()).said == "deployed"


async def test_where_cd_yaml_says_so_receipts_queue(world: World, tmp_path: Path) -> None:
    """The sync goes on, its receipts wait signed on the host, and the next run pushes them in order."""
    configure(world, unreachable="queue")
    await world.deploy()
    world.push_objects("a", config_map("a", {}))

    with away(world):
        presenter = Recorder()
        assert (await world.deploy(presenter)).said == "deployed"
        assert [entry.queued for entry in receipts(world)] == [False] * 4
    assert any("receipt 4 is signed and waits on this host" in note for note in presenter.notes)

    world.push_objects("b", config_map("b", {}))
    await world.deploy()

    assert [entry.statement.kind for entry in receipts(world)] == ["intent", "result"] * 3
    done = verify(world, tmp_path)
    assert done.returncode == 0, done.stderr


async def test_two_workers_at_once_do_not_fork_it(world: World, tmp_path: Path) -> None:
    """Two hosts that deploy the same environment at the same time leave one chain."""
    other = tmp_path / "other.yaml"
    value = json.loads(json.dumps(world.host.model_dump(mode="json", exclude_unset=True)))
    other.write_text(json.dumps({**value, "state": str(tmp_path / "other-state")}))
    twin = World(**{**vars(world), "config": other})

    await asyncio.gather(world.deploy(), twin.deploy(), return_exceptions=True)
    world.push_objects("a", config_map("a", {}))
    await asyncio.gather(world.deploy(), twin.deploy(), return_exceptions=True)

    numbers = [entry.number for entry in receipts(world)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 4
    done = verify(world, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout


async def test_the_ledger_survives_prefect(world: World, tmp_path: Path) -> None:
    """It is written, verified and traced where there is no Prefect at all."""
    configure(world)
    value = json.loads(world.config.read_text()) | {"prefect": "http://127.0.0.1:9/api"}
    world.config.write_text(json.dumps(value))
    await world.deploy()

    traced = program("trace", world.head, folder=tmp_path, env={"INTERLOCK_CONFIG": str(world.config)})

    assert [entry.statement.kind for entry in receipts(world)] == ["intent", "result"]
    assert verify(world, tmp_path).returncode == 0
    assert traced.returncode == 0 and "1 sync of dev" in traced.stdout


async def test_the_ledger_survives_the_cluster(world: World, tmp_path: Path) -> None:
    """With the control namespace's record gone the ledger is whole, says what ran, and goes on where it was."""
    await world.deploy()
    before = receipts(world)
    for each in ("", "-record", "-inventory-1-0"):
        world.delete(f"/api/v1/namespaces/{world.control}/configmaps/interlock-{world.environment_id}{each}")
    world.delete(world.path("configmaps", "base"))

    done = verify(world, tmp_path, "--output", "json")

    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["data"]["whole"] and "there is none" in report["data"]["unread"][0]
    assert (await world.deploy()).said == "deployed"
    assert receipts(world)[:2] == before and len(receipts(world)) > 2
    assert verify(world, tmp_path).returncode == 0


async def test_a_cut_tail_is_found_though_the_host_forgot(world: World, tmp_path: Path) -> None:
    """The mark and the mirror set back with the ledger: the record in the cluster still says what is missing."""
    await world.deploy()
    state, kept = world.host.state, tmp_path / "kept"
    shutil.copytree(state, kept)
    before = world.ledger.bare / "refs" / "heads" / "main"
    old = before.read_text()
    world.push_objects("a", config_map("a", {}))
    await world.deploy()
    before.write_text(old)
    shutil.rmtree(state)
    shutil.copytree(kept, state)

    done = verify(world, tmp_path, "--output", "json")

    assert done.returncode == 3
    (report,) = json.loads(done.stdout)
    (problem,) = report["data"]["problems"]
    assert (problem["fault"], problem["number"]) == ("truncated", 3)
    assert f"the record in {world.control} has seen receipt 4" in problem["what"]
    with pytest.raises(Refused, match="the cluster's record has seen 4"):
        await world.deploy()
