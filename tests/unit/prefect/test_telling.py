"""How a wait for health is told while it goes on."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest

from flows.cd import telling
from flows.cd.telling import Telling
from flows.presenter import Presenter
from interlock.cd.progress import Progress, Target, judge
from interlock.contract.render import Identity


class _Page:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def progress(self, key: str, done: float, note: str) -> None:
        self.notes.append(f"{key} {done:.0f} {note}")


def _progress(missing: int, now: float = 0) -> Progress:
    """Of three ConfigMaps, so many do not live; each was looked at from 0 on."""
    names = [Identity("", "ConfigMap", "shop", f"c{n}") for n in range(3)]
    live = {
        each: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": each.name, "namespace": "shop"}}
        for each in names[missing:]
    }
    first = judge([Target(each) for each in names], live, now=0)
    return judge([Target(each) for each in names], live, now=now, before={s.target.identity: s for s in first.objects})


async def _told(monkeypatch: pytest.MonkeyPatch, *looks: tuple[float, Progress]) -> list[str]:
    page = _Page()
    tell = Telling(cast("Presenter", page))
    for now, progress in looks:
        monkeypatch.setattr(telling, "time", SimpleNamespace(monotonic=partial(float, now)))
        await asyncio.to_thread(tell, progress)
    return page.notes


async def test_only_what_changes_is_told_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same again is not told, two changes at once are one, and the end is always told."""
    notes = await _told(
        monkeypatch,
        (100, _progress(2)),
        (101, _progress(2, 1)),
        (101.5, _progress(1, 1)),
        (102.5, _progress(1, 2)),
        (103, _progress(0, 3)),
    )
    assert notes == [
        "health 33 1 of 3 healthy: ConfigMap/shop/c0: does not exist; ConfigMap/shop/c1: does not exist",
        "health 67 2 of 3 healthy: ConfigMap/shop/c0: does not exist (2 s)",
        "health 100 3 of 3 healthy",
    ]


async def test_a_long_wait_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes, how long it has lasted is told twice a minute."""
    looks = ((100 + second, _progress(1, second)) for second in range(65))
    notes = await _told(monkeypatch, *looks)
    assert [note.rpartition(" exist")[2] for note in notes] == ["", " (30 s)", " (60 s)"]
