"""A wait learns of a newer commit at once, and asks the git server seldom."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.cd import newer
from tasks.cd.newer import NewerCommit
from tasks.common import git
from tests.git.test_environment_repository import VALUES
from tests.git.test_environment_repository import world as world  # noqa: PLC0414 - a fixture of that file, used here
from tests.git.verified import World


def _newer(world: World, commit: str) -> NewerCommit:
    return NewerCommit(world.remote, state=world.state, commit=commit)


def _fetches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    times: list[float] = []
    fetch: Callable[..., str] = git.fetch

    def counted(*arguments: Any, **more: Any) -> str:
        times.append(time.monotonic())
        return fetch(*arguments, **more)

    monkeypatch.setattr(git, "fetch", counted)
    return times


def _until(asked: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if asked():
            return True
        time.sleep(0.05)
    return False


def test_what_another_run_has_fetched_is_seen_without_asking_anybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror of this host is enough: a run that waits for the lock has brought the commit into it."""
    world.fetch()
    monkeypatch.setattr(NewerCommit, "_due", lambda _: False)
    wait = _newer(world, world.root)
    assert not wait()
    world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    assert not wait()
    world.fetch(world.root)

    assert wait()


def test_the_server_is_asked_beside_the_wait_and_once_for_all_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a push event the commit is found all the same; ten waits that ask all the time make one request."""
    world.fetch()
    times = _fetches(monkeypatch)
    world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    waits = [_newer(world, world.root) for _ in range(10)]

    def asked() -> bool:
        return sum(wait() for wait in waits) == len(waits)

    assert _until(asked)
    assert len(times) == 1


def test_a_commit_that_is_refused_ends_no_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged once, and the one that repairs it counts."""
    world.fetch()
    monkeypatch.setattr(NewerCommit, "_due", lambda _: False)
    wait = _newer(world, world.root)
    bad = world.push(world.root, {"environments/stray.txt": b"x\n"}, by=world.ada)
    git.fetch(git.mirror_path(world.state, world.remote.name), world.remote)
    judged: list[str] = []

    def refuse(_remote: object, head: str, **_more: object) -> bool:
        judged.append(head)
        return False

    monkeypatch.setattr(newer, "passes", refuse)
    assert not wait()
    assert not wait()
    assert judged == [bad]
    monkeypatch.undo()
    monkeypatch.setattr(NewerCommit, "_due", lambda _: False)
    world.push(bad, {"environments/stray.txt": None}, by=world.ada)
    git.fetch(git.mirror_path(world.state, world.remote.name), world.remote)

    assert wait()


def test_a_silent_git_server_ends_no_wait(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It goes on being asked, less and less often, and nothing is raised."""
    world.fetch()
    monkeypatch.setattr(newer, "ASK_SECONDS", 0.1)
    away = world.remote.model_copy(update={"url": "http://127.0.0.1:9/none.git"})
    wait = NewerCommit(away, state=world.state, commit=world.root)
    times = _fetches(monkeypatch)

    assert not _until(wait, seconds=3)
    assert 2 <= len(times) <= 6
