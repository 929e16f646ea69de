"""The ledger over HTTP: it begins empty, takes receipts from several writers, and shows what was done to it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.cd import receipts
from interlock.cd.ledger_check import Checkpoint, Problem
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
        return ledger.read.fn(self.remote, environment, state=self.state, keys=(self.key.public,))

    def problems(self) -> tuple[str, ...]:
        found = ledger.check.fn(self.remote, state=self.state, keys=(self.key.public,))
        return tuple(map(str, found.problems))


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return World(make_repository(server, tmp_path), Key.make(tmp_path / "cd"), tmp_path / "state")


def test_an_empty_ledger_takes_its_first_receipt(world: World) -> None:
    """The first push makes the branch; before it there is nothing to read and nothing wrong."""
    assert world.read() == () and world.problems() == ()
    assert ledger.last.fn(world.remote, "dev", state=world.state, keys=(world.key.public,)) is None

    entry = world.append()

    assert entry.receipt.number == 1 and entry.receipt.previous is None
    assert world.read() == (entry,)
    assert world.problems() == ()


def test_receipts_follow_each_other_in_each_environment(world: World) -> None:
    """Every environment has a chain of its own in the one repository."""
    one, other, two = world.append(run="1"), world.append(run="1", environment="production"), world.append(run="2")

    assert two.receipt.previous == one.digest and two.receipt.number == 2
    assert other.receipt.number == 1
    assert ledger.last.fn(world.remote, "dev", state=world.state, keys=(world.key.public,)) == two
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

    assert any("-2.json: this host has seen it, and it is gone" in problem for problem in world.problems())
    for act in (lambda: world.append(run="3"), world.read):
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

    assert any(f"{forged[:12]}: it changes {entry.path}" in problem for problem in problems)
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


# what verify finds ------------------------------------------------------------------------------------


def _found(world: World, *, host: str = "auditor", checkpoints: tuple[Checkpoint, ...] = ()) -> list[Problem]:
    """As somebody finds it who has never seen this ledger."""
    state = world.state / host
    checked = ledger.check.fn(world.remote, state=state, keys=(world.key.public,), checkpoints=checkpoints)
    return list(checked.problems)


def _rewrite(world: World, files: Sequence[tuple[str, bytes]]) -> None:
    """The ledger's branch anew, a commit a file, by somebody who even has CD's key."""
    head: str | None = None
    for path, data in files:
        head = world.repository.write(head, {path: data}, by=world.key)
    assert head is not None
    target = f"{head}:refs/heads/main"
    command = ("git", f"--git-dir={world.repository.mirror}", "push", "--quiet", "--force", str(world.repository.bare))
    subprocess.run((*command, target), check=True)


def _three(world: World) -> list[Entry]:
    return [world.append(run=run) for run in ("1", "2", "3")]


def test_a_changed_receipt_is_found(world: World) -> None:
    """A word that was changed is found at that receipt, and at the one that follows it."""
    first, second, third = _three(world)
    changed = second.data.replace(b'"actor":"push"', b'"actor":"pull"')
    _rewrite(world, [(first.path, first.data), (second.path, changed), (third.path, third.data)])

    found = _found(world)

    assert {(each.fault, each.number) for each in found} == {("changed", 2), ("changed", 3)}
    assert {each.where for each in found} == {second.path, third.path}


def test_a_removed_receipt_is_found(world: World) -> None:
    """One that was taken out of the middle is missing before the one that followed it."""
    first, _, third = _three(world)
    _rewrite(world, [(first.path, first.data), (third.path, third.data)])

    (problem,) = _found(world)

    assert (problem.fault, problem.where) == ("missing", third.path) and "receipt 2 is missing" in problem.what


def test_reordered_receipts_are_found(world: World) -> None:
    """Two that changed places are found: under each other's names, and in the order in which they came."""
    first, second, third = _three(world)
    _rewrite(world, [(first.path, first.data), (second.path, third.data), (third.path, second.data)])
    assert {each.where for each in _found(world, host="one")} >= {second.path, third.path}

    _rewrite(world, [(first.path, first.data), (third.path, third.data), (second.path, second.data)])
    (problem,) = _found(world, host="other")
    assert problem.fault == "reordered" and second.path in problem.what


def test_a_cut_tail_is_found(world: World) -> None:
    """A chain without its last receipts is whole by itself: the checkpoint says what is missing."""
    first, _, third = _three(world)
    _rewrite(world, [(first.path, first.data)])
    seen = Checkpoint("dev", 3, third.digest, "the record")

    assert _found(world) == []
    (problem,) = _found(world, checkpoints=(seen,))
    assert (problem.fault, problem.number) == ("truncated", 2) and "receipts 2 to 3" in problem.what


def test_a_whole_environment_that_is_gone_is_found(world: World) -> None:
    """An environment whose receipts are all gone has a checkpoint still."""
    entry, other = world.append(), world.append(environment="production")
    _rewrite(world, [(entry.path, entry.data)])

    (problem,) = _found(world, checkpoints=(Checkpoint("production", 1, other.digest, "the record"),))

    assert (problem.fault, problem.environment) == ("truncated", "production")


def test_a_file_that_cannot_be_read_is_a_problem_not_an_end(world: World) -> None:
    """Verification names what is no receipt, and goes on with the others."""
    first, second, third = _three(world)
    _rewrite(world, [(first.path, first.data), (second.path, b"{}"), (third.path, third.data)])

    found = {(each.fault, each.where) for each in _found(world)}

    assert found == {("unreadable", second.path), ("missing", third.path)}


# several workers, and a ledger that is away -------------------------------------------------------------


def test_two_workers_of_one_environment_do_not_fork_it(world: World) -> None:
    """Two hosts that write to the same chain at once make one chain of all receipts."""
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(world.append, run=f"{host}{number}", state=host) for number in range(5) for host in ("a", "b")
        ]
        for job in jobs:
            job.result()

    found = world.read()
    assert [entry.number for entry in found] == list(range(1, 11))
    assert len({entry.statement.run for entry in found}) == 10
    assert _found(world) == []


@pytest.fixture
def away(world: World) -> Iterator[LedgerRemote]:
    """The ledger's address while its server is away, where receipts may queue."""
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/ledger.git"
    yield world.remote.model_copy(update={"url": url, "unreachable": "queue"})


def _statement(run: str, **fields: object) -> Statement:
    given = {"kind": "intent", "environment": "dev", "environment_id": "d0d1d2d3d4d5", "actor": "push"}
    return Statement.model_validate({**given, "run": run, **fields})


def test_without_the_ledger_nothing_is_written_by_default(world: World, away: LedgerRemote) -> None:
    """Unless cd.yaml says otherwise, a receipt that cannot be pushed is an error: its sync does not begin."""
    stop = away.model_copy(update={"unreachable": "stop"})

    with pytest.raises(GitError):
        ledger.append.fn(stop, _statement("1"), state=world.state, key=world.key.path)
    with pytest.raises(GitError):
        ledger.tail.fn(stop, "dev", state=world.state, keys=(world.key.public,))


def test_receipts_queue_and_are_pushed_in_order(world: World, away: LedgerRemote) -> None:
    """While the ledger is away, signed receipts follow each other on the host; then they come first, as they were."""
    before = world.append(run="0")
    intent = ledger.append.fn(away, _statement("1"), state=world.state, key=world.key.path)
    said = _statement("1", kind="result", outcome="healthy", intent=intent.digest)
    result = ledger.append.fn(away, said, state=world.state, key=world.key.path)

    assert intent.queued and result.queued and result.receipt.previous == intent.digest
    assert ledger.append.fn(away, said, state=world.state, key=world.key.path).digest == result.digest
    assert [entry.number for entry in ledger.tail.fn(away, "dev", state=world.state, keys=(world.key.public,))] == [
        1,
        2,
        3,
    ]

    after = world.append(run="2")

    assert [entry.digest for entry in world.read()] == [before.digest, intent.digest, result.digest, after.digest]
    assert _found(world) == [] and not list((world.state / "ledger-queue" / "ledger").glob("0*"))


def test_a_queue_behind_which_others_wrote_goes_on_behind_them(world: World, away: LedgerRemote) -> None:
    """Another host's receipts came first: what waited is signed again behind them, and nothing is lost or forked."""
    world.append(run="0")
    intent = ledger.append.fn(away, _statement("1"), state=world.state, key=world.key.path)
    said = _statement("1", kind="result", outcome="healthy", intent=intent.digest)
    ledger.append.fn(away, said, state=world.state, key=world.key.path)
    world.append(run="other", state="elsewhere")

    world.append(run="2")

    found = world.read()
    assert [entry.statement.run for entry in found] == ["0", "other", "1", "1", "2"]
    assert found[2].statement.queued == intent.receipt.time and found[3].statement.intent == found[2].digest
    assert _found(world) == []


def test_a_push_that_was_killed_before_it_forgot_is_not_doubled(world: World, away: LedgerRemote) -> None:
    """Killed after the push and before the queue is emptied, the next run finds its receipts in the ledger."""
    world.append(run="0")
    entry = ledger.append.fn(away, _statement("1"), state=world.state, key=world.key.path)
    (file,) = (world.state / "ledger-queue" / "ledger").glob("0*")
    kept = file.read_bytes()
    world.append(run="2")
    file.write_bytes(kept)

    world.append(run="3")

    assert [each.statement.run for each in world.read()] == ["0", "1", "2", "3"]
    assert world.read()[1].digest == entry.digest and not file.exists()


def _forge(world: World, *, key: Key, **fields: object) -> None:
    """A receipt that somebody pushes who may push to the ledger, and signs with a key of his own."""
    given = {"kind": "result", "environment_id": "d0d1d2d3d4d5", "actor": "push", "run": "forged", **fields}
    said = Statement.model_validate({**given, "environment": "dev"})
    remote = world.remote.model_copy(update={"keys": (world.key.public,)})  # he takes CD's receipts as they are
    ledger.append.fn(remote, said, state=world.state / "his", key=key.path)


def test_a_forged_receipt_is_not_believed(world: World, tmp_path: Path) -> None:
    """Who may push to the ledger is not CD yet: nothing is read of it, and nothing is written behind it.

    A result that CD never signed would close the intent of a run that was killed.
    """
    intent = world.append(run="killed")
    _forge(world, key=Key.make(tmp_path / "his"), outcome="healthy", intent=intent.digest)

    keys = (world.key.public,)
    for act in (
        world.read,
        lambda: ledger.tail.fn(world.remote, "dev", state=world.state, keys=keys),
        lambda: ledger.last.fn(world.remote, "dev", state=world.state, keys=keys),
        lambda: ledger.read_seen.fn(world.remote, "dev", state=world.state, keys=keys),
        lambda: world.append(run="next"),
    ):
        with pytest.raises(Refused, match=r"-2.json: signed by a key that nobody here holds") as refused:
            act()
        assert refused.value.rule == "ledger-forged"


def test_a_key_that_cd_signed_with_before_is_named(world: World, tmp_path: Path) -> None:
    """After CD has another key its old receipts count as long as cd.yaml names the old one."""
    world.append(run="1")
    new = Key.make(tmp_path / "new")
    remote = world.remote.model_copy(update={"keys": (world.key.public,)})
    said = Statement(kind="intent", environment="dev", environment_id="d0d1d2d3d4d5", actor="push", run="2")
    assert ledger.append.fn(remote, said, state=world.state, key=new.path).number == 2
    both = ledger.tail.fn(remote, "dev", state=world.state, keys=(new.public, world.key.public))
    assert [entry.number for entry in both] == [1, 2]


def test_old_receipts_are_read_by_their_numbers(world: World) -> None:
    """What a checkpoint remembers is compared, however many receipts came since."""
    made = [world.append(run=str(number)) for number in range(4)]
    world.read()
    keys, numbers = (world.key.public,), frozenset({1, 3, 9})
    found = ledger.numbered.fn(world.remote, "dev", state=world.state, keys=keys, numbers=numbers)
    assert found == (made[0], made[2])
