"""The ledger over HTTP: it begins empty, takes receipts from several writers, and shows what was done to it."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.cd import receipts
from interlock.cd.receipts import Entry, Statement
from interlock.contract.host import LedgerRemote
from interlock.errors import GitError, Refused
from tasks.cd import ledger
from tasks.common import git
from tests.git.conftest import Key, Repository, Server, make_repository


@dataclass
class World:
    repository: Repository
    key: Key
    state: Path

    @property
    def remote(self) -> LedgerRemote:
        remote = self.repository.remote
        return LedgerRemote(name="ledger", url=remote.url, auth=remote.auth)

    def append(self, *, run: str = "r1", environment: str = "dev", state: str = "", **fields: object) -> Entry:
        given = {"kind": "intent", "environment_id": "d0d1d2d3d4d5", "actor": "push", **fields}
        statement = Statement.model_validate({**given, "run": run, "environment": environment})
        return ledger.append.fn(self.remote, statement, state=self.state / state, key=self.key.path)

    def read(self, environment: str = "dev") -> tuple[Entry, ...]:
        return ledger.read.fn(self.remote, environment, state=self.state)

    def problems(self) -> tuple[str, ...]:
        return ledger.verify.fn(self.remote, state=self.state, keys=(self.key.public,))


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return World(make_repository(server, tmp_path), Key.make(tmp_path / "cd"), tmp_path / "state")


def test_an_empty_ledger_takes_its_first_receipt(world: World) -> None:
    """The first push makes the branch; before it there is nothing to read and nothing wrong."""
    assert world.read() == () and world.problems() == ()
    assert ledger.last.fn(world.remote, "dev", state=world.state) is None

    entry = world.append()

    assert entry.receipt.number == 1 and entry.receipt.previous is None
    assert world.read() == (entry,)
    assert world.problems() == ()


def test_receipts_follow_each_other_in_each_environment(world: World) -> None:
    """Every environment has a chain of its own in the one repository."""
    one, other, two = world.append(run="1"), world.append(run="1", environment="production"), world.append(run="2")

    assert two.receipt.previous == one.digest and two.receipt.number == 2
    assert other.receipt.number == 1
    assert ledger.last.fn(world.remote, "dev", state=world.state) == two
    assert world.problems() == ()


def test_the_same_statement_twice_is_one_receipt(world: World) -> None:
    """A retry after a lost answer does not double the receipt."""
    assert world.append() == world.append()
    assert len(world.read()) == 1


@pytest.mark.parametrize("hosts", [("", "", ""), ("a", "b", "c")], ids=["one host", "three hosts"])
def test_writers_do_not_lose_each_others_receipts(world: World, hosts: tuple[str, ...]) -> None:
    """Several runs append at once, in one mirror or in several: all receipts are there, in whole chains."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(world.append, run=str(number), environment=environment, state=host)
            for environment, host in zip(("dev", "test", "production"), hosts, strict=True)
            for number in range(3)
        ]
        for job in jobs:
            job.result()

    assert [len(world.read(environment)) for environment in ("dev", "test", "production")] == [3, 3, 3]
    assert world.problems() == ()


def test_a_killed_deploy_leaves_an_open_intent(world: World) -> None:
    """The next run sees the intent that no result closed, and closes it."""
    intent = world.append(run="killed")
    assert receipts.open_intents(world.read()) == (intent,)

    world.append(run="next", kind="result", outcome="healthy", intent=intent.digest)
    assert receipts.open_intents(world.read()) == ()


def test_a_rewritten_ledger_is_refused(world: World) -> None:
    """A ledger that lost receipts which this host has seen takes no more, until it is as it was."""
    world.append(run="1")
    first = git.fetch(world.repository.mirror, world.remote)
    world.append(run="2")
    second = git.fetch(world.repository.mirror, world.remote)
    _set_branch(world, first)

    for act in (lambda: world.append(run="3"), world.read, world.problems):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.rule == "ledger-rewritten"

    _set_branch(world, second)
    assert world.append(run="3").receipt.number == 3


def test_a_deleted_ledger_is_refused(world: World) -> None:
    """An emptied repository is not a new beginning."""
    world.append()
    _set_branch(world, None)

    with pytest.raises(Refused) as refused:
        world.append(run="2")

    assert refused.value.rule == "ledger-rewritten"


def _set_branch(world: World, commit: str | None) -> None:
    target = ("-d", "refs/heads/main") if commit is None else ("refs/heads/main", commit)
    subprocess.run(("git", f"--git-dir={world.repository.bare}", "update-ref", *target), check=True)


def test_meddling_shows(world: World) -> None:
    """A commit that changes a receipt, or is not CD's, is named."""
    entry = world.append()
    mirror, remote = world.repository.mirror, world.remote
    head = git.fetch(mirror, remote)
    forged = world.repository.write(head, {entry.path: entry.data.replace(b'"push"', b'"pull"'), "x": b"y"})
    git.push(mirror, forged, remote, expected=head)

    problems = world.problems()

    assert any(f"{forged[:12]}: it does more than add" in problem for problem in problems)
    assert any(f"{forged[:12]}: signed by a key that nobody" in problem for problem in problems)
    assert any(entry.path in problem and "does not fit" in problem for problem in problems)
    assert any("x: not a receipt" in problem for problem in problems)


def test_ci_cannot_write_the_ledger(world: World) -> None:
    """An account without the right gets an error that says so."""
    reader = world.repository.as_role("cd")
    statement = Statement(kind="drift", environment="dev", environment_id="d0d1d2d3d4d5", actor="x", run="r")

    with pytest.raises(GitError, match="403"):
        ledger.append.fn(
            LedgerRemote(name="ledger", url=reader.url, auth=reader.auth),
            statement,
            state=world.state,
            key=world.key.path,
        )
