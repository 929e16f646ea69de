"""Prefect is made to be what prefect.yaml and the host's file say, whatever it was before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cd.host import CdHost
from tasks.common.declare import declare, wanted
from tasks.common.prefect_api import Api
from tests.prefect import hosts
from tests.prefect.conftest import Server


def host(server: Server, state: Path, **change: Any) -> CdHost:
    """A CD host with a cluster of its own, so that tests do not meet."""
    text = json.dumps({**hosts.cd(server.api, state), **change}).replace("sandbox", "declared")
    return CdHost.model_validate_json(text)


@pytest.fixture
def declared(api: Api, server: Server, tmp_path: Path) -> Iterator[CdHost]:
    """A host that was just declared."""
    one = host(server, tmp_path)
    declare(api, wanted("cd", one.grounds))
    yield one
    declare(api, wanted("cd", host(server, tmp_path, environments={}).grounds))


def test_a_second_declaration_changes_nothing(api: Api, declared: CdHost) -> None:
    """What is as declared is left alone: no request that writes, nothing reported."""
    assert declare(api, wanted("cd", declared.grounds)) == ()


def test_declares_a_form_with_the_hosts_names(api: Api, declared: CdHost) -> None:
    """The parameters of a deployment are described, and the environment is chosen from the host's."""
    schema = api.get("/deployments/name/deploy/declared")["parameter_openapi_schema"]

    assert schema["properties"]["environment"]["enum"] == ["dev"]
    assert "40 hex digits" in schema["properties"]["revision"]["description"]
    assert schema["required"] == ["environment"]


def test_declares_a_schedule_for_each_environment(api: Api, declared: CdHost) -> None:
    """An environment's resync has the interval of the host's file."""
    [schedule] = api.get("/deployments/name/resync/declared")["schedules"]

    assert schedule["schedule"]["interval"] == 3600
    assert (schedule["slug"], schedule["parameters"]) == ("dev", {"environment": "dev"})


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"job_variables": {"labels": {"a": "b"}}}, id="job-variables"),
        pytest.param({"entrypoint": "evil.py:plan"}, id="entrypoint"),
        pytest.param({"paused": True}, id="paused"),
        pytest.param({"parameters": {"environment": "dev"}}, id="parameters"),
        pytest.param({"tags": []}, id="tags"),
    ],
)
def test_puts_back_a_deployment_that_was_edited(api: Api, declared: CdHost, edit: dict[str, Any]) -> None:
    """A deployment edited by hand goes back, in one go."""
    api.patch("/work_pools/interlock-cd-declared", {"base_job_template": {}})
    before = api.get("/deployments/name/resync/declared")
    api.patch(f"/deployments/{before['id']}", edit)

    changed = declare(api, wanted("cd", declared.grounds))

    assert changed == ("pool interlock-cd-declared put back", "deployment resync/declared put back")
    assert declare(api, wanted("cd", declared.grounds)) == ()
    after = api.get("/deployments/name/resync/declared")
    assert {key: after[key] for key in edit} == {key: before[key] for key in edit}
    assert len(after["schedules"]) == 1


def test_puts_back_a_schedule_that_was_deleted(api: Api, declared: CdHost) -> None:
    """A schedule that somebody deleted, or switched off, is there again."""
    before = api.get("/deployments/name/resync/declared")
    [schedule] = before["schedules"]
    api.delete(f"/deployments/{before['id']}/schedules/{schedule['id']}")

    assert declare(api, wanted("cd", declared.grounds)) == ("deployment resync/declared put back",)
    [again] = api.get("/deployments/name/resync/declared")["schedules"]
    assert again["active"]


def test_deletes_what_is_declared_no_more(api: Api, server: Server, declared: CdHost, tmp_path: Path) -> None:
    """An environment that left the host's file takes its automation and its schedule along."""
    fewer = host(server, tmp_path, environments={})

    changed = declare(api, wanted("cd", fewer.grounds))

    assert "automation 'interlock-cd-declared: deploy dev' deleted" in changed
    assert api.get("/deployments/name/resync/declared")["schedules"] == []


def test_deletes_deployments_that_call_themselves_ours(api: Api, declared: CdHost) -> None:
    """A deployment in our pool with our tag that nobody declared is deleted."""
    flow = api.post("/flows/", {"name": "deploy"})
    body = {"flow_id": flow["id"], "name": "old", "work_pool_name": "interlock-cd-declared", "tags": ["interlock"]}
    api.post("/deployments/", body)

    assert declare(api, wanted("cd", declared.grounds)) == ("deployment deploy/old deleted",)


def test_leaves_other_peoples_things_alone(api: Api, declared: CdHost) -> None:
    """Deployments elsewhere and automations of other names stay."""
    flow = api.post("/flows/", {"name": "theirs"})
    theirs = api.post("/deployments/", {"flow_id": flow["id"], "name": "theirs", "tags": ["interlock"]})

    assert declare(api, wanted("cd", declared.grounds)) == ()
    assert api.get(f"/deployments/{theirs['id']}")["name"] == "theirs"
    api.delete(f"/deployments/{theirs['id']}")
