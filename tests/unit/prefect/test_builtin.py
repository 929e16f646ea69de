"""What may come from Prefect: a flow out of the list, and parameters of a form."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
from prefect import Flow

from interlock.contract.builtin import FLOWS, BuiltIn, built_in, checked, form
from interlock.errors import ParameterError

KNOWN = {"environment": ("dev", "prod"), "repository": ("shop",)}
COMMIT = "1a2b3c4d" * 5
ALL = [pytest.param(flow, id=flow.name) for half in FLOWS.values() for flow in half.values()]


@pytest.mark.parametrize("flow", ALL)
def test_the_flow_is_where_the_list_says(flow: BuiltIn) -> None:
    """Each entry is a flow of that name, takes those parameters, keeps no results and retries nothing by itself."""
    module, _, name = flow.entrypoint.rpartition(".")
    found = getattr(import_module(module), name)

    assert isinstance(found, Flow)
    assert found.name == flow.name
    assert list(inspect.signature(found.fn).parameters) == list(flow.parameters.model_fields)
    assert not found.persist_result
    assert found.retries == 0
    assert found.isasync


@pytest.mark.parametrize(
    ("name", "parameters", "values"),
    [
        ("deploy", {"environment": "dev"}, {"environment": "dev", "revision": None}),
        ("deploy", {"environment": "prod", "revision": COMMIT}, {"environment": "prod", "revision": COMMIT}),
        ("plan", {"environment": "dev", "revision": None}, {"environment": "dev", "revision": None}),
        ("resync", {"environment": "dev"}, {"environment": "dev"}),
        ("poll-cd", {}, {}),
    ],
)
def test_takes_what_is_known(name: str, parameters: dict[str, Any], values: dict[str, Any]) -> None:
    """Known names and whole commit ids pass as they are."""
    assert checked(built_in("cd", name), parameters, KNOWN) == values


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("deploy", {}, "deploy: parameter 'environment': Field required"),
        ("deploy", {"environment": "other"}, "deploy: environment 'other' is not registered on this host"),
        ("deploy", {"environment": "dev", "x": 1}, "deploy: unknown parameter 'x'"),
        ("deploy", {"environment": "dev", "revision": "main"}, "deploy: parameter 'revision'"),
        ("deploy", {"environment": "dev", "revision": COMMIT[:12]}, "deploy: parameter 'revision'"),
        ("deploy", {"environment": "dev", "revision": COMMIT.upper()}, "deploy: parameter 'revision'"),
        ("deploy", {"environment": "dev", "revision": COMMIT + "\n"}, "deploy: parameter 'revision'"),
        ("deploy", {"environment": "../dev"}, "deploy: parameter 'environment'"),
        ("deploy", {"environment": {"__prefect_kind": "jinja", "template": "x"}}, "deploy: parameter 'environment'"),
        ("resync", {"environment": 7}, "resync: parameter 'environment'"),
        ("poll-cd", {"environment": "dev"}, "poll-cd: unknown parameter 'environment'"),
        ("plan", {"environment": float("nan")}, "plan: "),
    ],
)
def test_refuses_the_rest(name: str, parameters: dict[str, Any], said: str) -> None:
    """Anything else is refused, and the message names flow and parameter."""
    with pytest.raises(ParameterError) as refused:
        checked(built_in("cd", name), parameters, KNOWN)
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize("name", ["release", "Deploy", "deploy/sandbox", "", "flows.cd.deploy.deploy"])
def test_a_half_has_its_own_flows_only(name: str) -> None:
    """Another half's flow, a deployment's name and an entrypoint are not flows of this half."""
    with pytest.raises(ParameterError, match="is not one of this worker's: deploy, resync, plan, poll-cd"):
        built_in("cd", name)


def test_the_form_offers_what_the_host_has() -> None:
    """A form has described fields in order, names to choose from, and optional ones as simple fields."""
    schema = form(built_in("cd", "deploy"), KNOWN)

    assert schema["properties"]["environment"]["enum"] == ["dev", "prod"]
    assert schema["required"] == ["environment"]
    assert schema["properties"]["revision"]["type"] == "string"
    assert [field["position"] for field in schema["properties"].values()] == [0, 1]
    assert all(field["description"] for field in schema["properties"].values())
