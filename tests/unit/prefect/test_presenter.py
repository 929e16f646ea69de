"""What a run does when nobody takes what it tells."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import presenter, trail, waited
from flows.presenter import PrefectPresenter
from interlock.contract.report import Report
from tasks.common.effect import effect


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of what Prefect took; it takes nothing while `away` is among them."""
    titles: list[str] = []

    async def shown(report: Report) -> None:
        if "away" in titles:
            raise httpx.ConnectError("refused")
        titles.append(report.title)

    monkeypatch.setattr(presenter, "_shown", shown)
    monkeypatch.setattr(PrefectPresenter, "say", lambda _, message: said.append(message))
    said.clear()
    return titles


said: list[str] = []


async def test_what_prefect_did_not_take_is_told_later(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends for no telling; what could not be shown comes before what is shown next."""
    monkeypatch.setattr(presenter, "AWAY_SECONDS", 0)
    teller = PrefectPresenter()
    await teller.show(Report("a", "first", ""))
    taken.append("away")
    await teller.show(Report("b", "second", ""))
    await teller.show(Report("c", "third", ""))
    taken.remove("away")
    await teller.show(Report("d", "fourth", ""))
    assert taken == ["first", "second", "third", "fourth"]
    assert said[0] == "Prefect was not told the report `b` (second): ConnectError: refused"


async def test_prefect_is_left_alone_for_a_while(taken: list[str]) -> None:
    """After one failure nothing is tried, so that no run waits for Prefect again and again."""
    teller = PrefectPresenter()
    taken.append("away")
    for number in range(5):
        await teller.show(Report("a", str(number), ""))
    assert len(said) == 1


async def test_the_graph_holds_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect looks into whatever a task waits for, and a plan of a large environment takes it seconds each time."""
    result = {"large": "plan"}

    def task(**_: object) -> State[Any]:
        return Completed(data=result)

    monkeypatch.setattr(presenter, "_task", lambda _: task)

    @effect(name="plan")
    def plan() -> dict[str, str]:
        return result

    assert await PrefectPresenter().step(plan) is result
    (end,) = trail.ends()
    assert end.is_completed()
    assert "large" not in str(end.data)


async def test_a_long_step_says_that_it_is_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time that has passed, less and less often; a quick one says nothing."""
    lines: list[str] = []
    monkeypatch.setattr(waited, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(PrefectPresenter, "say", lambda _, message: lines.append(message))
    monkeypatch.setattr(presenter, "_task", lambda each: lambda **_: Completed(data=each.fn()))

    @effect(name="scan image")
    def scan() -> int:
        time.sleep(1)
        return 1

    @effect(name="look")
    def look() -> int:
        return 2

    with trail.about("web"):
        assert await PrefectPresenter().step(scan) == 1
    assert await PrefectPresenter().step(look) == 2

    assert 2 <= len(lines) <= 4
    assert all(re.fullmatch(r"scan image of web: \d+ s so far", line) for line in lines)
