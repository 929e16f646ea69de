"""The flows themselves, in a real Prefect: what a run's page has to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cd.deploy import deploy
from flows.cd.plan import plan
from flows.cd.resync import resync
from sandbox.parts.prefect import Prefect
from tests.cluster.worlds import World, config_map, deployment, manifest_path, service


@pytest.fixture
def prefect_world(world: World, prefect_server: Prefect, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("INTERLOCK_CONFIG", str(world.config))
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield world


async def _run(flow: Callable[..., Any]) -> tuple[State[object], str, set[str], dict[str, str]]:
    """The state that the run ended in, its name, its tags, and its artifacts' descriptions by key."""
    state: State[object] = await flow(environment="dev", return_state=True)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    async with get_client() as client:
        run = await client.read_flow_run(run_id)
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        artifacts = await client.read_artifacts(artifact_filter=mine)
    return state, run.name, set(run.tags), {str(a.key): str(a.description) for a in artifacts}


async def test_a_deploy_tells_its_story(prefect_world: World) -> None:
    """Name, tags, plan and outcome say which commit went where, and what became of it."""
    world = prefect_world
    head = world.push_objects("web", deployment(), service())

    state, name, tags, artifacts = await _run(deploy)

    assert (state.name, name) == ("Completed", f"deploy dev {head[:7]}")
    assert str(state.message).startswith(f"dev deployed at {head[:12]} in ")
    assert tags >= {"environment:dev", "application:shop"}
    assert artifacts["plan"] == f"Plan for dev at {head[:12]}: 3 to create"
    assert artifacts["outcome"].endswith("; 3 create")
    assert artifacts["health"] == "3 of 3 healthy"


async def test_a_refused_head_fails_the_run_by_its_rule(prefect_world: World) -> None:
    """The state says Refused and the rule; a page says what to do."""
    world = prefect_world
    await _run(deploy)
    world.force(world.repository.write(None, {manifest_path("evil"): b"x: 1\n"}))

    state, _, _, artifacts = await _run(deploy)

    assert (state.type.value, state.name) == ("FAILED", "Refused")
    assert str(state.message).startswith("rewritten: ")
    assert artifacts["refusal"] == "dev: refused (rewritten)"


async def test_plan_and_resync_run_as_flows(prefect_world: World) -> None:
    """A plan names what would come; a resync of a synced environment says so."""
    world = prefect_world
    await _run(deploy)
    world.push_objects("c", config_map("c", {"a": "1"}))
    state, name, _, artifacts = await _run(plan)
    assert str(state.message) == f"dev at {world.head[:12]}: 1 to create"
    assert name == f"plan dev {world.head[:7]}"
    assert artifacts["plan"].endswith(": 1 to create")
    await _run(deploy)
    state, name, _, _ = await _run(resync)
    assert (state.name, name) == ("Completed", f"resync dev {world.head[:7]}")
    assert " in sync at " in str(state.message)
