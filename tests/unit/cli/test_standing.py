"""How environments stand, as `interlock status` tells it."""

from __future__ import annotations

from typing import Any

from interlock.cd.outlook import Outlook
from interlock.cli import standing
from interlock.cli.standing import Standing
from interlock.contract.report import uncelled

NEW, OLD = "a" * 40, "b" * 40
WHY = "dev: 2 objects cannot be made\n  - ConfigMap/shop/a: blocked: `x` **y**\n  - Secret/shop/b: no"


def stood(name: str = "dev", *, state: Any = "blocked", why: str = WHY, problem: str = "") -> Standing:
    found = Outlook(NEW, state, why, "push a commit that mends it", "2026-01-02T03:04:05Z")
    return Standing(
        name,
        "sandbox",
        verified=NEW,
        deployed=OLD,
        last="result",
        outcome="healthy",
        time="2026-01-01T02:03:04Z",
        problem=problem,
        outlook=found,
    )


def test_a_commit_that_is_not_deployed_is_told_with_reasons() -> None:
    """Commit, state and time, each reason on its line, what to do, and what the cluster has; as text and in JSON."""
    found = standing.report((), (stood(),), title="t")
    assert uncelled(found.markdown).splitlines() == [
        "dev: the newest commit aaaaaaaaaaaa is blocked since 2026-01-02T03:04:05Z: 2 objects cannot be made",
        "- ConfigMap/shop/a: blocked: `x` **y**",
        "- Secret/shop/b: no",
        "- to do: push a commit that mends it",
        "- the cluster has bbbbbbbbbbbb",
    ]
    data: Any = found.data
    (entry,) = data["environments"]
    assert (entry["newest"], entry["state"], entry["to_do"]) == (NEW, "blocked", "push a commit that mends it")
    assert entry["why"][1:] == ["ConfigMap/shop/a: blocked: `x` **y**", "Secret/shop/b: no"]
    assert found.tables[0].rows == (("dev", NEW[:12], "blocked", OLD[:12], "result: healthy", "2026-01-01 02:03"),)


def test_what_is_deployed_needs_no_words() -> None:
    """Only the table has it; a problem is told all the same."""
    assert standing.report((), (stood(state="deployed", why=""),), title="t").markdown == ""
    told = standing.report((), (stood(state="deployed", why="", problem="the cluster is away"),), title="t")
    assert uncelled(told.markdown) == "dev: problem: the cluster is away"


def test_many_reasons_are_counted() -> None:
    """The page stays readable."""
    why = "\n".join(["dev: many", *(f"  - {n}" for n in range(25))])
    assert "- … and 5 more" in standing.report((), (stood(why=why),), title="t").markdown


def test_the_title_is_the_verdict() -> None:
    """Of one environment its state, of several how many are how."""
    assert standing.title([stood()]) == "dev: blocked"
    assert standing.title([stood(problem="x")]) == "dev: blocked, 1 problem"
    several = [stood(), stood("prod", state="deployed"), stood("test", state="deployed")]
    assert standing.title(several) == "3 environments: 1 blocked, 2 deployed"
    assert standing.title([]) == "0 environments"
