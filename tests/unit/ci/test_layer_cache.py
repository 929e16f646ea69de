"""Trivy's caches of image layers: each has one scan at a time, and a host has one for each processor."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from tasks.ci import scanner
from tasks.ci.scanner import _alone_with
from tasks.common.stopping import stoppable


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """One, so that there is one cache."""
    monkeypatch.setattr(scanner, "_processors", lambda: 1)


def test_scans_take_turns(tmp_path: Path) -> None:
    """Also when one names the cache by another path: whoever comes second waits until the first has ended."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "cache")
    inside: list[int] = []
    most: list[int] = []

    def scan(path: Path) -> None:
        with _alone_with(path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.1)
            inside.pop()

    threads = [threading.Thread(target=scan, args=(tmp_path / name,)) for name in ("cache", "other", "cache")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert most == [1, 1, 1]


def test_who_is_stopped_does_not_wait(tmp_path: Path) -> None:
    """A cancelled run does not stand in the queue."""
    stop, context = stoppable()
    stop.ask()

    def scan() -> None:
        with _alone_with(tmp_path / "cache"):
            pass

    with _alone_with(tmp_path / "cache"), pytest.raises(ScanFailed, match="nobody waits"):
        context.run(scan)


def test_scans_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are processors, each with a cache of its own; what is free again is used again."""
    monkeypatch.setattr(scanner, "_processors", lambda: 2)
    with _alone_with(tmp_path / "cache") as first:
        with _alone_with(tmp_path / "cache") as second:
            assert [first.name, second.name] == ["cache", "cache-2"]
            stop, context = stoppable()
            stop.ask()
            with pytest.raises(ScanFailed, match="nobody waits"):
                context.run(_enter, tmp_path / "cache")
        with _alone_with(tmp_path / "cache") as again:
            assert again == second


def _enter(cache: Path) -> None:
    with _alone_with(cache):
        pass
