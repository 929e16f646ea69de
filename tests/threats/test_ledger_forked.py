"""Two workers, or an attacker who replays one, fork the ledger: each of two pasts is whole by itself.

Defence: a receipt is pushed upon exactly the commit that it was made for (compare and swap), and follows anew when
another came first (tasks/cd/ledger.py); two receipts of one number are a fork that `interlock ledger verify` names.
Not defended: a server that shows two hosts two branches, until one of them is asked for what the other has seen.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from interlock.cd.receipts import Statement
from interlock.contract.host import LedgerRemote
from tasks.cd import ledger
from tasks.common import git
from tests.git.conftest import Key, Repository

TIMES = 6


def both_write(repository: Repository, folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Two hosts append to one environment at once; the runs that the ledger has then, and what an auditor finds."""
    key = Key.make(folder / "cd")
    remote = LedgerRemote(name="ledger", url=repository.remote.url, auth=repository.remote.auth)

    def write(run: str) -> None:
        said = Statement(kind="intent", environment="dev", environment_id="d0d1d2d3d4d5", actor="push", run=run)
        ledger.append.fn(remote, said, state=folder / run[0], key=key.path)

    write("a-first")
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(write, f"{host}{number}") for number in range(TIMES) for host in "ab"]
        for job in jobs:
            job.result()
    found = ledger.read.fn(remote, "dev", state=folder / "reader", keys=(key.public,))
    checked = ledger.check.fn(remote, state=folder / "auditor", keys=(key.public,))
    return [entry.statement.run for entry in found], tuple(map(str, checked.problems))


def test_writing_without_comparing_succeeds_in_losing_receipts(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push that replaces whatever is there keeps one host's past and drops the other's."""
    push = git.push

    def forced(mirror: Path, commit: str, remote: Any, *, expected: str | None, **_: Any) -> None:
        now = git.list_branches(mirror, remote, "main").get("main") if expected else None
        push(mirror, commit, remote, expected=now, rewrite=True)

    plain = ledger._fetch
    monkeypatch.setattr(git, "push", forced)
    monkeypatch.setattr(ledger, "_fetch", lambda mirror, remote: git.kept(mirror) or plain(mirror, remote))

    runs, _ = both_write(repository, tmp_path)

    assert len(runs) < 1 + 2 * TIMES


def test_two_writers_leave_one_chain(repository: Repository, tmp_path: Path) -> None:
    """Every receipt of both is there, once, and the chain is whole."""
    runs, problems = both_write(repository, tmp_path)

    assert len(runs) == len(set(runs)) == 1 + 2 * TIMES
    assert problems == ()
