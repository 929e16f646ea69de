"""The newest receipts are cut off the ledger, and the mark and the mirror on CD's host set back to fit.

Defence: the record in the environment's control namespace remembers number and digest of the newest receipt too, and
every sync, and `interlock ledger verify`, hold the ledger against it (interlock/cd/record.py,
interlock/cd/ledger_check.py).
Not defended: whoever also writes the control namespace, which no tenant may; and receipts after the last sync, which
the record learns of with the next one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interlock.cd import record
from interlock.errors import Refused
from tests.cluster.test_ledger import receipts, verify
from tests.cluster.worlds import World, config_map


async def cut(world: World, folder: Path) -> None:
    """Deploy twice, then take the second deploy out of ledger, mark and mirror."""
    await world.deploy()
    branch, state = world.ledger.bare / "refs" / "heads" / "main", world.host.state
    before = branch.read_text()
    shutil.copytree(state, folder / "before")
    world.push_objects("theft", config_map("theft", {"by": "me"}))
    await world.deploy()
    branch.write_text(before)
    shutil.rmtree(state)
    shutil.copytree(folder / "before", state)


async def test_a_cut_tail_succeeds_without_the_checkpoint(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the record's checkpoint the shorter ledger is as good as the longer one: CD goes on behind it."""
    await cut(world, tmp_path)
    monkeypatch.setattr(record, "_require_receipts", lambda *_: None)
    mark = record.read(record.Mark, (world.host.state / "marks" / "dev.json").read_bytes(), subject="mark")
    stored = world.stored().record
    assert stored is not None
    (world.host.state / "marks" / "dev.json").write_bytes(
        record.write(record.Mark(mark.environment_id, stored.verified, stored.deployed, receipts=2))
    )

    assert (await world.resync()).said == "in sync"

    assert len(receipts(world)) == 2


async def test_a_cut_tail_is_refused_and_placed(world: World, tmp_path: Path) -> None:
    """Nothing is written, and the receipts that are missing are named."""
    await cut(world, tmp_path)

    with pytest.raises(Refused, match="the ledger has 2 receipts, the cluster's record has seen 4"):
        await world.resync()
    done = verify(world, tmp_path)

    assert done.returncode == 3
    assert "receipts 3 to 4 are missing at the end" in done.stdout
