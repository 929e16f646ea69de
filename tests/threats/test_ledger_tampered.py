"""What CD said that it did is changed, removed or put in another order afterwards.

Number: 26
Defence: receipts are signed, numbered and chained in commits that CD signs; `interlock ledger verify` reads all of them
and says where (interlock/cd/ledger_check.py, tasks/cd/ledger.py). A host takes no ledger that lost what it has seen.
Not defended: whoever has CD's key, administrator's rights on the git server, the cluster's record and the host's mark
writes another past; a copy of the ledger elsewhere shows it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from interlock.cd.ledger_check import Problem
from interlock.cd.receipts import Entry, Statement
from interlock.contract.host import LedgerRemote
from interlock.errors import Refused
from tasks.cd import ledger
from tests.git.conftest import Key, Repository

Files = list[tuple[str, bytes]]


class Attacked:
    """A ledger with three receipts, on a server that the attacker administers."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.cd = Key.make(folder / "cd")
        self.remote = LedgerRemote(name="ledger", url=repository.remote.url, auth=repository.remote.auth)
        self.entries = [self.append(run) for run in ("first", "second", "third")]

    def append(self, run: str) -> Entry:
        said = Statement(kind="intent", environment="dev", environment_id="d0d1d2d3d4d5", actor="push", run=run)
        return ledger.append.fn(self.remote, said, state=self.folder / "state", key=self.cd.path)

    def rewrite(self, files: Sequence[tuple[str, bytes]]) -> None:
        """The branch anew, signed by the attacker's own key."""
        head: str | None = None
        for path, data in files:
            head = self.repository.write(head, {path: data})
        command = ("git", f"--git-dir={self.repository.mirror}", "push", "--quiet", "--force")
        subprocess.run((*command, str(self.repository.bare), f"{head}:refs/heads/main"), check=True)

    def problems(self) -> tuple[Problem, ...]:
        """As an auditor finds them who has never seen this ledger."""
        return ledger.check.fn(self.remote, state=self.folder / "auditor", keys=(self.cd.public,)).problems


@pytest.fixture
def attacked(repository: Repository, tmp_path: Path) -> Attacked:
    return Attacked(repository, tmp_path)


def _changed(files: Files) -> Files:
    return [(path, data.replace(b'"run":"second"', b'"run":"nobody"')) for path, data in files]


def _removed(files: Files) -> Files:
    return [files[0], files[2]]


def _reordered(files: Files) -> Files:
    return [files[0], (files[1][0], files[2][1]), (files[2][0], files[1][1])]


ATTACKS = pytest.mark.parametrize("attack", [_changed, _removed, _reordered])


@ATTACKS
def test_tampering_succeeds_where_git_alone_is_asked(attacked: Attacked, attack: Callable[[Files], Files]) -> None:
    """Git finds a rewritten branch as sound as any other."""
    attacked.rewrite(attack([(entry.path, entry.data) for entry in attacked.entries]))

    done = subprocess.run(
        ("git", f"--git-dir={attacked.repository.bare}", "fsck", "--full", "--strict"), capture_output=True, check=False
    )

    assert done.returncode == 0


@ATTACKS
def test_tampering_is_found_and_placed(attacked: Attacked, attack: Callable[[Files], Files]) -> None:
    """Whatever was done, the receipts concerned are named, and the commits that are not CD's."""
    assert attacked.problems() == ()
    attacked.rewrite(attack([(entry.path, entry.data) for entry in attacked.entries]))

    found = attacked.problems()

    receipts = {each.number for each in found if each.where.startswith("receipts/")}
    assert receipts & {2, 3}
    assert any(each.fault == "forged" and each.where.startswith("commit ") for each in found)


def test_a_host_refuses_to_go_on_behind_it(attacked: Attacked) -> None:
    """CD's host has seen the receipts: nothing is appended, so no sync begins."""
    attacked.rewrite(_removed([(entry.path, entry.data) for entry in attacked.entries]))

    with pytest.raises(Refused) as refused:
        ledger.tail.fn(attacked.remote, "dev", state=attacked.folder / "state", keys=(attacked.cd.public,))

    assert refused.value.rule == "ledger-rewritten"
