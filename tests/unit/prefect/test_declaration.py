"""prefect.yaml and a host's file make one declaration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cd.host import CdHost
from interlock.ci.host import CiHost
from interlock.contract import strict_yaml
from interlock.contract.builtin import FLOWS
from interlock.contract.declaration import PrefectFile, declaration
from interlock.errors import FormatError
from tasks.common.declare import ROOT, same
from tests.prefect import hosts

TEXT = (ROOT / "prefect.yaml").read_text()
FILE = strict_yaml.parse(TEXT, PrefectFile, path="prefect.yaml")


def ci(**change: Any) -> CiHost:
    return CiHost.model_validate_json(json.dumps({**hosts.ci("http://p/api", Path("/s")), **change}))


def cd(**change: Any) -> CdHost:
    return CdHost.model_validate_json(json.dumps({**hosts.cd("http://p/api", Path("/s")), **change}))


def test_every_built_in_flow_is_declared_once() -> None:
    """prefect.yaml names each flow of the list, by its entrypoint, and no other."""
    declared = sorted(entry.entrypoint for entry in FILE.deployments)

    assert declared == sorted(flow.entrypoint for half in FLOWS.values() for flow in half.values())


def test_ci_has_its_own_half() -> None:
    """CI's host gets CI's pool and deployments, and a trigger for each application repository."""
    two = {"shop": {"url": "http://h/s.git"}, "acme/till": {"url": "http://h/t.git"}}

    wanted = declaration(FILE, "ci", ci(repositories=two).grounds)

    assert list(wanted.pools) == ["interlock-ci"]
    assert [one.full_name for one in wanted.deployments] == ["release/ci", "poll-ci/ci", "rescan/ci"]
    assert [(one.starts, dict(one.parameters)) for one in wanted.automations if one.starts] == [
        ("release/ci", {"repository": "acme/till"}),
        ("release/ci", {"repository": "shop"}),
    ]
    assert wanted.limits == {}


def test_cd_has_each_cluster_and_environment() -> None:
    """Each cluster has a pool and deployments; each environment a schedule, a trigger and a limit there."""
    place = {"namespaces": ["shop"], "control_namespace": "interlock-x", "resync_seconds": 60}
    host = cd(
        clusters={"east": {"kubeconfig": "/k"}, "west": {"kubeconfig": "/k"}},
        environments={"dev": {**place, "cluster": "east"}, "prod": {**place, "cluster": "west", "resync_seconds": 300}},
    )

    wanted = declaration(FILE, "cd", host.grounds)

    assert list(wanted.pools) == ["interlock-cd-east", "interlock-cd-west"]
    resyncs = {one.name: one.body["schedules"] for one in wanted.deployments if one.flow == "resync"}
    assert [(one["slug"], one["schedule"]["interval"]) for one in resyncs["west"]] == [("prod", 300.0)]
    assert [(one.starts, one.parameters["environment"]) for one in wanted.automations if one.starts] == [
        ("deploy/east", "dev"),
        ("deploy/west", "prod"),
    ]
    assert wanted.limits == {"interlock-environment-dev": 1, "interlock-environment-prod": 1}
    forms = {one.full_name: one.body["parameter_openapi_schema"]["properties"] for one in wanted.deployments}
    assert forms["deploy/east"]["environment"]["enum"] == ["dev"]


def test_pull_requests_are_looked_at_where_there_is_an_account() -> None:
    """By one schedule of the host, however many clusters it has; by none without an account."""
    clusters = {"east": {"kubeconfig": "/k"}, "west": {"kubeconfig": "/k"}}
    forge = {"kind": "gitea", "url": "https://git.example", "project": "acme/environments", "token": "/t"}
    hosts_ = (
        cd(clusters=clusters, environments={}),
        cd(clusters=clusters, environments={}, pull_requests={"forge": forge}, poll_seconds=45),
    )

    without, with_ = (
        {one.full_name: one.body["schedules"] for one in declaration(FILE, "cd", host.grounds).deployments}
        for host in hosts_
    )

    assert without["pull-requests/east"] == without["pull-requests/west"] == with_["pull-requests/west"] == []
    assert [each["schedule"]["interval"] for each in with_["pull-requests/east"]] == [45.0]


def test_deployments_carry_nothing_that_could_run() -> None:
    """No command, no pull step, no path: what our workers would ignore is not even there."""
    wanted = declaration(FILE, "cd", cd().grounds)

    for deployment in wanted.deployments:
        assert (deployment.body["pull_steps"], deployment.body["job_variables"], deployment.body["path"]) == (
            None,
            {},
            None,
        )
    template = wanted.pools["interlock-cd-sandbox"]["base_job_template"]
    assert template["variables"] == {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_placeholder_that_nobody_knows_is_an_error() -> None:
    """A misspelt placeholder is named, instead of being declared as it is."""
    misspelt = strict_yaml.parse(
        TEXT.replace('name: "{{ cluster }}"', 'name: "{{ clutser }}"'), PrefectFile, path="prefect.yaml"
    )

    with pytest.raises(FormatError, match="clutser"):
        declaration(misspelt, "cd", cd().grounds)


@pytest.mark.parametrize(
    ("wanted", "found", "is_same"),
    [
        ({"a": 1}, {"a": 1, "id": 7}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {}}, {"a": {"evil": 1}}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "created": 2}}, True),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, True),
        ({"a": []}, {"a": ["x"]}, False),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": []}, False),
        ({"a": False}, {"a": True}, False),
    ],
)
def test_same_means_that_nothing_was_edited(wanted: Any, found: Any, *, is_same: bool) -> None:
    """What Prefect adds by itself does not count; what is wanted empty must be empty."""
    assert same(wanted, found) is is_same
