"""What Prefect should have: prefect.yaml, filled in with what a host knows. Pure; tasks.common.declare makes it so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zlib import crc32

from pydantic import Field

from interlock.contract.builtin import FLOWS, BuiltIn, Half, Known, form
from interlock.contract.models import Model
from interlock.errors import FormatError

TAG = "interlock"
"""On every deployment of ours: what has it and is wanted no more is deleted."""
HEARTBEAT_SECONDS = 30
SILENT_SECONDS = 100
"""A run without a heartbeat for so long is dead: three were missed."""

Value = str | int


# prefect.yaml ----------------------------------------------------------------------------------------


class Schedule(Model):
    slug: str
    interval: str | int
    parameters: dict[str, str] = Field(default={})


class Trigger(Model):
    name: str
    description: str = ""
    match: dict[str, str]
    expect: tuple[str, ...]
    parameters: dict[str, str] = Field(default={})


class Pool(Model):
    name: str


class DeploymentEntry(Model):
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...] = ()
    work_pool: Pool
    schedules: tuple[Schedule, ...] = ()
    triggers: tuple[Trigger, ...] = ()


class Limit(Model):
    name: str
    limit: int


class PrefectFile(Model):
    """prefect.yaml"""

    name: str
    deployments: tuple[DeploymentEntry, ...]
    concurrency_limits: tuple[Limit, ...] = ()


# what it becomes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """Where a half works: one pool, the values of placeholders there, and those that entries are repeated for."""

    pool: str
    known: Known
    values: Mapping[str, Value]
    each: tuple[Mapping[str, Value], ...] = ()


@dataclass(frozen=True)
class Deployment:
    """`body` is what Prefect's API calls it, without ids; `flow` its flow's name."""

    flow: str
    name: str
    body: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True)
class Automation:
    """`starts` is the full name of the deployment that it starts, or None when `body` has its action already."""

    name: str
    body: Mapping[str, Any]
    starts: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    """Everything that one half wants to be in Prefect."""

    pools: Mapping[str, Mapping[str, Any]]
    deployments: tuple[Deployment, ...]
    automations: tuple[Automation, ...]
    limits: Mapping[str, int]


NO_TEMPLATE: Mapping[str, Any] = MappingProxyType(
    {
        "job_configuration": {"labels": {}},  # Prefect wants one
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }
)
"""A pool's job template without anything to choose: the worker would not read it anyway."""


def declaration(file: PrefectFile, half: Half, grounds: tuple[Ground, ...]) -> Declaration:
    """What this half wants on these grounds."""
    flows = {flow.entrypoint: flow for flow in FLOWS[half].values()}
    pairs = [
        (entry, flows[entry.entrypoint], ground)
        for ground in grounds
        for entry in file.deployments
        if entry.entrypoint in flows
    ]
    limits = [
        Limit.model_validate(limit)
        for ground in grounds
        for entry in file.concurrency_limits
        for limit in _filled_for_each(entry.model_dump(), ground)
    ]
    return Declaration(
        pools={ground.pool: _pool(half) for ground in grounds},
        deployments=tuple(_deployment(*pair) for pair in pairs),
        automations=(
            *(automation for pair in pairs for automation in _automations(*pair)),
            *(_silent_runs(ground) for ground in grounds),
        ),
        limits={limit.name: limit.limit for limit in limits},
    )


def _pool(half: Half) -> Mapping[str, Any]:
    return {
        "type": "interlock",
        "description": f"Interlock's {half.upper()}. Its workers run built-in flows with checked parameters only.",
        "base_job_template": dict(NO_TEMPLATE),
        "is_paused": False,
        "concurrency_limit": None,
    }


def _deployment(entry: DeploymentEntry, flow: BuiltIn, ground: Ground) -> Deployment:
    name = str(_filled(entry.name, ground.values))
    return Deployment(
        flow=flow.name,
        name=name,
        body={
            "name": name,
            "work_pool_name": ground.pool,
            "work_queue_name": "default",
            "description": _filled(entry.description.strip(), ground.values),
            "tags": [TAG, *entry.tags],
            "entrypoint": entry.entrypoint,
            "path": None,
            "version": None,
            "pull_steps": None,
            "job_variables": {},
            "parameters": {},
            "parameter_openapi_schema": form(flow, ground.known),
            "enforce_parameter_schema": True,
            "concurrency_limit": None,
            "paused": False,
            "schedules": [
                _schedule(schedule, flow.name)
                for entry_schedule in entry.schedules
                for schedule in _filled_for_each(entry_schedule.model_dump(), ground)
            ],
        },
    )


def _schedule(schedule: Mapping[str, Any], flow: str) -> dict[str, Any]:
    second = crc32(f"{flow} {schedule['slug']}".encode()) % 60  # apart from each other, and always the same
    return {
        "slug": schedule["slug"],
        "active": True,
        "max_scheduled_runs": None,
        "parameters": schedule["parameters"],
        "schedule": {
            "interval": float(schedule["interval"]),
            "anchor_date": f"2026-01-01T00:00:{second:02}Z",
            "timezone": "UTC",
        },
    }


def _automations(entry: DeploymentEntry, flow: BuiltIn, ground: Ground) -> Iterator[Automation]:
    starts = f"{flow.name}/{_filled(entry.name, ground.values)}"
    for entry_trigger in entry.triggers:
        for trigger in _filled_for_each(entry_trigger.model_dump(), ground):
            name = f"{ground.pool}: {trigger['name']}"
            body = {
                "name": name,
                "description": trigger["description"],
                "enabled": True,
                "trigger": {
                    "type": "event",
                    "posture": "Reactive",
                    "match": trigger["match"],
                    "expect": list(trigger["expect"]),
                    "for_each": ["prefect.resource.id"],
                    "threshold": 1,
                    "within": 0.0,
                },
            }
            yield Automation(name, body, starts=starts, parameters=trigger["parameters"])


def _silent_runs(ground: Ground) -> Automation:
    """Calls a run crashed whose process died together with its worker, so that nobody waits for it."""
    name = f"{ground.pool}: runs without a heartbeat"
    body = {
        "name": name,
        "description": f"A run that gave no sign of life for {SILENT_SECONDS} seconds has crashed.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {
                "prefect.resource.role": "work-pool",
                "prefect.resource.name": ground.pool,
            },
            # A run begins to tell with its start, and its process sends the first heartbeat after some time.
            "after": ["prefect.flow-run.Running", "prefect.flow-run.heartbeat"],
            # Every sign of life counts: states have names of their own (Blocked, Refused, …), and so have their events.
            "expect": ["prefect.flow-run.*"],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": float(SILENT_SECONDS),
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "name": "Crashed",
                "message": "No heartbeat: the host or the worker died. Start it again: it goes on where it was.",
            }
        ],
    }
    return Automation(name, body)


# placeholders ----------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{\{ ([a-z_]+) \}\}")


def _filled_for_each(entry: dict[str, Any], ground: Ground) -> Iterator[dict[str, Any]]:
    """The entry once for each value of what it names; once when it names nothing that is repeated."""
    repeated = {name for values in ground.each for name in values}
    if not repeated & set(_PLACEHOLDER.findall(repr(entry))):
        if not _asks_more(entry, ground):
            yield _filled(entry, ground.values)
        return
    for values in ground.each:
        yield _filled(entry, {**ground.values, **values})


def _asks_more(entry: dict[str, Any], ground: Ground) -> bool:
    """Whether the entry is the other half's, or about what this ground has none of."""
    return not set(_PLACEHOLDER.findall(repr(entry))) <= set(ground.values)


def _filled(value: Any, values: Mapping[str, Value]) -> Any:
    if isinstance(value, str):
        return _filled_text(value, values)
    if isinstance(value, Mapping):
        return {_filled(key, values): _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, values) for inner in value]
    return value


def _filled_text(text: str, values: Mapping[str, Value]) -> Value:
    try:
        if whole := _PLACEHOLDER.fullmatch(text):
            return values[whole[1]]
        return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), text)
    except KeyError as unknown:
        raise FormatError(f"{text!r}: nothing is called {unknown.args[0]}", path="prefect.yaml") from None
