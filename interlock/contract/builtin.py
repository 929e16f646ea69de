"""The flows that a worker runs, and what a run of each may ask for: all that is ever taken from Prefect.

The descriptions are what people read in the form that starts a run.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, ValidationError

from interlock.contract.models import CommitId, Model, Name, RepositoryName
from interlock.errors import ParameterError

Half = Literal["ci", "cd"]
WORKER_TYPE = "interlock"


class NoParameters(Model):
    """Asks for nothing."""


class ReleaseParameters(Model):
    repository: RepositoryName = Field(
        description="The application repository, by its name in the CI host's ci.yaml.", title="Repository"
    )
    commit: CommitId | None = Field(
        default=None,
        description="A commit of its protected branch, 40 hex digits. Empty: the newest. "
        "It must be newer than what is released now; otherwise the run ends as superseded.",
        title="Commit",
    )


class EnvironmentParameters(Model):
    environment: Name = Field(description="The environment, by its name in the CD host's cd.yaml.", title="Environment")


class DeployParameters(EnvironmentParameters):
    revision: CommitId | None = Field(
        default=None,
        description="A hint: the commit of the environment repository that this is about, 40 hex digits. "
        "The newest verified commit is deployed, never an older one.",
        title="Revision",
    )


class PlanParameters(EnvironmentParameters):
    revision: CommitId | None = Field(
        default=None,
        description="A commit of the environment repository, 40 hex digits. Empty: the newest. Nothing is changed.",
        title="Revision",
    )


@dataclass(frozen=True)
class BuiltIn:
    """A flow's name in Prefect, where its code is (module and function), and its parameters."""

    name: str
    entrypoint: str
    parameters: type[Model]


FLOWS: Mapping[Half, Mapping[str, BuiltIn]] = MappingProxyType(
    {
        "ci": {
            "release": BuiltIn("release", "flows.ci.release.release", ReleaseParameters),
            "poll-ci": BuiltIn("poll-ci", "flows.ci.poll.poll_ci", NoParameters),
            "rescan": BuiltIn("rescan", "flows.ci.rescan.rescan", NoParameters),
        },
        "cd": {
            "deploy": BuiltIn("deploy", "flows.cd.deploy.deploy", DeployParameters),
            "resync": BuiltIn("resync", "flows.cd.resync.resync", EnvironmentParameters),
            "plan": BuiltIn("plan", "flows.cd.plan.plan", PlanParameters),
            "poll-cd": BuiltIn("poll-cd", "flows.cd.poll.poll_cd", NoParameters),
            "guard": BuiltIn("guard", "flows.cd.guard.guard", NoParameters),
            "pull-requests": BuiltIn("pull-requests", "flows.cd.pull_requests.pull_requests", NoParameters),
        },
    }
)

Known = Mapping[str, Collection[str]]
"""The values that a parameter may have on this host, by the parameter's name."""


def built_in(half: Half, flow: str) -> BuiltIn:
    """The flow of that name; ParameterError when this half has no such flow."""
    try:
        return FLOWS[half][flow]
    except KeyError:
        names = ", ".join(FLOWS[half])
        raise ParameterError(f"flow {flow!r} is not one of this worker's: {names}") from None


def checked(flow: BuiltIn, parameters: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """The parameters, every one of them known and of its form; ParameterError names the first that is not."""
    try:
        values = flow.parameters.model_validate_json(json.dumps(dict(parameters))).model_dump(mode="json")
    except (ValidationError, ValueError, TypeError) as error:
        raise ParameterError(f"{flow.name}: {_first(error)}", hint=_asks(flow)) from None
    for name, allowed in known.items():
        if name in values and values[name] not in allowed:
            raise ParameterError(
                f"{flow.name}: {name} {values[name]!r} is not registered on this host",
                hint=f"it knows {', '.join(sorted(allowed)) or 'none'}; `interlock register` adds one",
            )
    return values


def form(flow: BuiltIn, known: Known) -> dict[str, Any]:
    """The JSON Schema of a flow's parameters, with the host's names to choose from, for Prefect's form."""
    schema = flow.parameters.model_json_schema()
    properties = {
        name: _simple(body) | ({"enum": sorted(known[name])} if name in known else {}) | {"position": position}
        for position, (name, body) in enumerate(schema.get("properties", {}).items())
    }
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "definitions": {},
    }


def _simple(body: Mapping[str, Any]) -> dict[str, Any]:
    """A property that may be null as one that may be left out: Prefect's form shows one field then, not a choice."""
    chosen: Mapping[str, Any] = next((choice for choice in body.get("anyOf", ()) if choice.get("type") != "null"), {})
    return {key: value for key, value in {**body, **chosen}.items() if key != "anyOf" and value is not None}


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"the parameters are not JSON: {error}"
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"]) or "parameters"
    if problem["type"] == "extra_forbidden":
        return f"unknown parameter {name!r}"
    return f"parameter {name!r}: {problem['msg']}"


def _asks(flow: BuiltIn) -> str:
    names = ", ".join(flow.parameters.model_fields) or "no parameters"
    return f"it takes {names}"
