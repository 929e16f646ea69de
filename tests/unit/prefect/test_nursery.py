"""Where runs' processes come from, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from flows.nursery import Child, Nursery
from interlock.errors import PrefectError


@pytest.fixture
def new_nursery(tmp_path: Path) -> Nursery:
    """To be entered in the test: its parent belongs to the test's event loop."""
    environment = {"PATH": os.environ["PATH"], "FOLDER": str(tmp_path)}
    return Nursery("ci", environment, module="tests.unit.prefect.nursling")


def parent(child: Child) -> int:
    """The process that it was forked from."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


async def test_a_run_that_cannot_be_forked_fails_alone(new_nursery: Nursery, tmp_path: Path) -> None:
    """When the machine has no process left, the run is told so; the others go on, and later ones start again."""
    async with new_nursery as nursery:
        before = await nursery.take("2")
        (tmp_path / "full").touch()

        with pytest.raises(PrefectError, match="could not be started"):
            await nursery.take("0")

        (tmp_path / "full").unlink()
        after = await nursery.take("0.5")
        assert parent(before) == parent(after)
        assert [await before.wait(), await after.wait()] == [0, 0]


async def test_runs_that_come_together_after_a_crash_share_one_parent(new_nursery: Nursery) -> None:
    """The parent was killed; of three runs that want one at once, none starts a second."""
    async with new_nursery as nursery:
        first = await nursery.take("60")
        os.kill(parent(first), signal.SIGKILL)
        assert await first.wait() == -signal.SIGKILL

        children = await asyncio.gather(*(nursery.take("1") for _ in range(3)))

        assert len({parent(child) for child in children}) == 1
        assert [await child.wait() for child in children] == [0, 0, 0]
