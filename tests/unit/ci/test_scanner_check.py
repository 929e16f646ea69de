"""The check of the scanner runs beside the builds: nothing is scanned before it, and its failure ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.ci import release
from flows.ci.assess import Ground
from flows.ci.clock import Clock
from flows.trail import start
from interlock.contract.finding import Database
from interlock.errors import ScanFailed
from tasks.ci.scanner import Scanner


class Recording:
    """What began and what ended, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        self.said.append(f"{what} begins")
        try:
            yield
        finally:
            self.said.append(f"{what} ends")

    async def step(self, effect: Any, *_: Any, **__: Any) -> Any:
        with self.during(effect.name):
            await asyncio.sleep(0)


def test_its_failure_ends_what_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fails by it, no source is scanned, and no build goes on."""
    recording = Recording()

    async def build(*_: Any) -> None:
        with recording.during("build"):
            await asyncio.sleep(60)

    async def check() -> Database:
        await asyncio.sleep(0.01)
        raise ScanFailed("the database is empty")

    async def order() -> None:
        ground = Ground(Scanner(tmp_path, tmp_path, tmp_path, pinned=True), start(check()), tmp_path)
        files = SimpleNamespace(file=SimpleNamespace(components={}), scanned=tmp_path, tree=tmp_path)
        host = SimpleNamespace(components_at_once=2)
        run: Any = SimpleNamespace(presenter=recording, ground=ground, clock=Clock(), checkout=files, host=host)
        left: Any = {"web": SimpleNamespace(bound=())}
        await release._release_left(run, None, left)  # type: ignore[arg-type]

    monkeypatch.setattr(release, "_release_one", build)
    monkeypatch.setattr(release, "_scan_manifests_of", build)

    with pytest.raises(ScanFailed, match="the database is empty"):
        asyncio.run(order())
    assert sorted(recording.said) == ["build begins", "build begins", "build ends", "build ends"]
