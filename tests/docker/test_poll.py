"""Polling starts what no release has dealt with, on a real Prefect server, and runs the release as a flow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from prefect import Task, flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.ci import poll, release
from flows.ci.poll import is_left, look_at_environments, poll_order
from interlock.ci.decided import Decided
from interlock.errors import Refused
from sandbox.parts.prefect import Prefect
from tasks.ci.decided import write_decided
from tasks.ci.workspace import turn
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import P, R, Recorder

TOKEN = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"


def left(walk: Walk) -> bool:
    """As a poll sees it that saw this head before."""
    assert walk.application.head
    now = look_at_environments.fn(walk.host)
    is_left.fn(walk.host, "shop", walk.application.head, now)
    return is_left.fn(walk.host, "shop", walk.application.head, now)


def test_a_head_counts_when_it_was_seen_twice(walk: Walk) -> None:
    """So that a webhook's run comes first."""
    head, now = walk.application.head or "", look_at_environments.fn(walk.host)

    assert not is_left.fn(walk.host, "shop", head, now)
    assert is_left.fn(walk.host, "shop", head, now)


def test_what_is_decided_is_left_alone(walk: Walk) -> None:
    """Blocked ones until people write something, released ones until they change places; another commit is left."""
    head = walk.application.head or ""
    state = walk.host.state

    write_decided(state, "shop", Decided(head))
    assert not left(walk)
    now = look_at_environments.fn(walk.host)
    for decided in (Decided(head, policy=now.policy), Decided(head, places=now.places)):
        write_decided(state, "shop", decided)
        assert not left(walk)
    walk.environments.push({"environments/dev/other/release.yaml": b"format: 1\ncomponents: {}\n"})
    assert not left(walk)
    walk.environments.push({"policy/gate.yaml": b"format: 1\n# another text\n"})
    assert not left(walk)
    walk.environments.push({"environments/dev/other/values.yaml": b""})
    assert left(walk)
    write_decided(state, "shop", Decided(head, policy=now.policy))
    assert left(walk)
    assert not is_left.fn(walk.host, "shop", head, None), "nothing is started again while nobody knows how things stand"
    write_decided(state, "shop", Decided("a" * 40))
    assert left(walk)


def test_a_release_under_way_is_left_alone(walk: Walk) -> None:
    """It will see the newest commit itself, or the next poll does."""
    with turn(walk.host.state, "shop") as ours:
        assert ours
        assert not left(walk)
    assert left(walk)


class Started(Recorder):
    """Remembers what is started, without a Prefect that would do it."""

    async def step(self, effect: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if effect.name == "start run":
            self.said.append(str(args[0]))
            return cast("R", "an id")
        return await super().step(effect, *args, **kwargs)


async def test_a_hostile_environment_repository_stops_no_poll(walk: Walk) -> None:
    """What nobody has decided is started all the same, and says what is wrong there; what was decided stays so."""
    link = walk.environments.on_server("hash-object", "-w", "--stdin", given="/etc/passwd")
    tree = walk.environments.on_server("mktree", given=f"120000 blob {link}\tpolicy\n")
    walk.environments.rewind(walk.environments.on_server("commit-tree", tree, "-m", "Take over"))
    presenter = Started()
    for _ in range(2):
        with pytest.raises(Refused, match="policy"):
            await poll_order(presenter, walk.host)

    assert presenter.said == ["release/ci"]
    write_decided(walk.host.state, "shop", Decided(walk.application.head or "", policy="another"))
    with pytest.raises(Refused):
        await poll_order(presenter, walk.host)
    assert presenter.said == ["release/ci"]


def test_a_lost_memory_harms_nothing(walk: Walk) -> None:
    """Not even one that was cut off."""
    folder = walk.host.state / "decided"
    folder.mkdir()
    (folder / "shop.json").write_text('{"commit": ')

    assert left(walk)


@pytest.fixture
def prefect(prefect_server: Prefect, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process talks to the server, with the walk's host file."""
    file = tmp_path / "ci.yaml"
    file.write_text(json.dumps(walk.host.model_dump(mode="json", exclude_none=True)))
    monkeypatch.setenv("INTERLOCK_CONFIG", str(file))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield


async def test_a_run_ends_with_what_became_of_the_commit(prefect: None, walk: Walk) -> None:
    """Completed with a sentence, then Blocked with the gate's reasons, with reports, tags and a name of its own."""
    released = await release.release(repository="shop", return_state=True)
    walk.application.push(service.files({"shop/settings.py": f'TOKEN = "{TOKEN}"\n'}))
    blocked = await release.release(repository="shop", return_state=True)

    assert released.name == "Completed"
    assert (released.message or "").startswith("released shop ")
    assert blocked.name == "Blocked"
    assert "secret github-pat in shop/settings.py:1" in (blocked.message or "")
    async with get_client() as client:
        assert blocked.state_details.flow_run_id
        run = await client.read_flow_run(blocked.state_details.flow_run_id)
        artifacts = await client.read_artifacts()
    assert run.name == f"release shop {(walk.application.head or '')[:12]}"
    assert "component:web" in run.tags
    mine = {artifact.key for artifact in artifacts if artifact.flow_run_id == run.id}
    assert {"scan", "tests", "gate", "ending"} <= mine


async def test_a_poll_starts_one_run(prefect: None, walk: Walk) -> None:
    """At the deployment of the release, with the head as its commit; a second poll of the same head starts no other."""

    @flow(name="release")
    async def stub(repository: str, commit: str | None = None) -> None:
        """Only its deployment is needed."""

    async with get_client() as client:
        flow_id = await client.create_flow(stub)
        deployment = await client.create_deployment(flow_id, "ci", enforce_parameter_schema=False)
    for _ in range(3):
        state = await poll.poll_ci(return_state=True)

    assert state.message == "started shop"
    async with get_client() as client:
        runs = await client.read_flow_runs()
    mine = [run for run in runs if run.deployment_id == deployment]
    assert [run.parameters for run in mine] == [{"repository": "shop", "commit": walk.application.head}]
