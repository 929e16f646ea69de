"""Statuses at a source commit: what a release says of it, whatever the forge does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.ci.stated import say_again, stated
from interlock.ci import statuses
from interlock.ci.host import CiHost, Trivy
from interlock.contract.host import EnvironmentRemote, Registry, Remote, RootPin, Signing
from interlock.errors import Blocked, GitError, InputError, InterlockError, Superseded, Unbound
from tasks.ci.source import Head
from tasks.ci.unsent import unsent
from tests import examples_of_repositories as example
from tests.docker.recorder import Recorder
from tests.forges.server import FakeForge, Fault

COMMIT = "5" * 40
RUN = "https://prefect.example/runs/flow-run/run-1"


def make_host(state: Path, forge: FakeForge) -> CiHost:
    pin = RootPin(commit="0" * 40, keys=(example.PERSON_KEY,))
    return CiHost(
        format=1,
        prefect="http://127.0.0.1:1/api",
        prefect_ui="https://prefect.example/",
        state=state,
        environment_repository=EnvironmentRemote(name="environments", url="http://127.0.0.1:1/e.git", root=pin),
        repositories={"shop": Remote(url="http://127.0.0.1:1/s.git")},
        registry=Registry(host="registry.example"),
        signing=Signing(signer="ci-shop", key=state / "key"),
        trivy=Trivy(cache=state),
        forges={"shop": forge.account(state / "token")},
    )


async def release(host: CiHost, recorder: Recorder, end: BaseException | None = None) -> None:
    async with stated(recorder, host, Head("shop", COMMIT), "run-1", contextlib.nullcontext()) as told:
        await asyncio.sleep(0.05)
        if end:
            raise end
        told.of("released shop 555555555555: web to dev, prod")


def said(forge: FakeForge) -> list[tuple[str, str]]:
    return [(each["state"], each["description"]) for each in forge.statuses]


def test_pending_then_success(forge: FakeForge, tmp_path: Path) -> None:
    """With a link to the run, under one name."""
    asyncio.run(release(make_host(tmp_path, forge), Recorder()))

    assert [state for state, _ in said(forge)] == ["pending", "success"]
    assert said(forge)[-1][1] == "released shop 555555555555: web to dev, prod"
    assert {each["target_url"] for each in forge.statuses} == {RUN}
    assert {each["sha"] for each in forge.statuses} == {COMMIT}


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (Blocked("web 5555 is not released to dev", reasons=("CVE-1",)), "failure", "web 5555 is not released to dev"),
        (InputError("interlock.yaml:3: no such field"), "failure", "interlock.yaml:3: no such field"),
        (GitError("http://git.internal: refused"), "error", "a tool failed; it is tried again"),
        (Superseded("shop 5555: 6666 is newer"), "error", "a newer commit is released"),
        (Unbound("shop: bound nowhere"), "success", "there is no environment that it may be released to"),
        (Blocked("x" * 500), "failure", "x" * 139 + "…"),
    ],
)
def test_what_came_of_it(
    new_forge: Callable[[str], FakeForge], tmp_path: Path, error: InterlockError, state: str, words: str
) -> None:
    """The commit's faults are told by their first line; those of our tools are not told to the world."""
    forge = new_forge("github")
    with pytest.raises(type(error)):
        asyncio.run(release(make_host(tmp_path, forge), Recorder(), error))

    assert said(forge)[-1] == (state, words)


def test_a_forge_that_is_down_changes_nothing(
    new_forge: Callable[[str], FakeForge], tmp_path: Path, no_waiting: list[float]
) -> None:
    """The release ends as it would; its page says so; the next poll says it, once."""
    forge, recorder = new_forge("gitea"), Recorder()
    forge.faults = [Fault(503)] * 8
    host = make_host(tmp_path, forge)

    asyncio.run(release(host, recorder))

    assert forge.statuses == []
    assert recorder.report("forge").title == f"The forge was not told that {COMMIT[:12]} is success"
    assert "does not depend on it. It is tried again" in recorder.report("forge").markdown
    asyncio.run(say_again(Recorder(), host))
    asyncio.run(say_again(Recorder(), host))
    assert [state for state, _ in said(forge)] == ["success"]


def test_a_verdict_stays_one_while_the_forge_is_down(new_forge: Callable[[str], FakeForge], tmp_path: Path) -> None:
    """Blocked is blocked, also when the token's file is gone."""
    forge = new_forge("gitlab")
    host = make_host(tmp_path, forge)
    host.forges["shop"].token.unlink()

    with pytest.raises(Blocked, match="no"):
        asyncio.run(release(host, Recorder(), Blocked("no")))
    assert [status.state for _, status in unsent(host.state)] == ["failure"]


def test_a_newer_word_takes_the_place_of_an_unsent_one(
    new_forge: Callable[[str], FakeForge], tmp_path: Path, no_waiting: list[float]
) -> None:
    """What was to be said before is not said after it."""
    forge = new_forge("github")
    host = make_host(tmp_path, forge)
    forge.faults = [Fault(503)] * 8
    with pytest.raises(GitError):
        asyncio.run(release(host, Recorder(), GitError("away")))
    asyncio.run(release(host, Recorder()))
    asyncio.run(say_again(Recorder(), host))

    assert [state for state, _ in said(forge)] == ["pending", "success"]


def test_a_stopped_run_is_told_by_the_next_poll(new_forge: Callable[[str], FakeForge], tmp_path: Path) -> None:
    """Whoever cancels does not wait for a forge."""
    forge = new_forge("github")
    host = make_host(tmp_path, forge)

    async def cancelled() -> None:
        running = asyncio.create_task(release(host, Recorder(), asyncio.CancelledError()))
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    asyncio.run(say_again(Recorder(), host))

    assert said(forge)[-1] == ("error", "the run was stopped")


def test_what_is_too_old_is_not_said(new_forge: Callable[[str], FakeForge], tmp_path: Path) -> None:
    """After a day nobody waits for it any more; neither is a broken file an error."""
    forge = new_forge("github")
    host = make_host(tmp_path, forge)
    host.forges["shop"].token.chmod(0o644)
    asyncio.run(release(host, Recorder()))
    (kept,) = (host.state / "unsent").glob("*.json")
    os.utime(kept, (1, 1))
    (host.state / "unsent" / "broken.json").write_text("{")
    host.forges["shop"].token.chmod(0o600)

    asyncio.run(say_again(Recorder(), host))

    assert forge.statuses == [] and list((host.state / "unsent").glob("*.json")) == []


def test_without_a_forge_nothing_is_asked(new_forge: Callable[[str], FakeForge], tmp_path: Path) -> None:
    """A host that names none is as it was."""
    forge, recorder = new_forge("github"), Recorder()
    host = make_host(tmp_path, forge).model_copy(update={"forges": {}})
    asyncio.run(release(host, recorder))
    assert (forge.requests, recorder.steps) == ([], [])


def test_without_an_address_for_people_there_is_no_link() -> None:
    """An empty one is none."""
    assert statuses.run_url(None, "1") == ""
    assert statuses.run_url("https://prefect.example/", "1") == "https://prefect.example/runs/flow-run/1"
