"""How a run ends: what the top of its page says, without a traceback for what was expected."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from interlock.contract.report import cell
from interlock.errors import (
    AwaitsApproval,
    Blocked,
    CredentialFound,
    HostConfigError,
    InputError,
    InterlockError,
    LockHeld,
    Refused,
    ScanFailed,
    Superseded,
    TestsFailed,
    Unbound,
    UnderWay,
    Unhealthy,
)
from tasks.common.effect import enough_of_the_host
from tasks.common.redaction import in_errors

T = TypeVar("T")

_NAMES: tuple[tuple[type[InterlockError], str], ...] = (
    (UnderWay, "UnderWay"),
    (Superseded, "Superseded"),
    (Refused, "Refused"),
    (CredentialFound, "Refused"),
    (ScanFailed, "NotScanned"),
    (TestsFailed, "TestsFailed"),
    (Blocked, "Blocked"),
    (Unhealthy, "Unhealthy"),
    (LockHeld, "LockHeld"),
    (AwaitsApproval, "AwaitingApproval"),
    (Unbound, "Unbound"),
    (InputError, "BadInput"),
    (HostConfigError, "BadHostConfig"),
)


async def ending(
    order: Awaitable[T], told: Callable[[T], str], *, name: Callable[[T], str] | None = None
) -> State[Any]:
    """Await an order and say how it ended, as the state that a flow returns.

    `told` makes one sentence of the outcome, such as "deployed 1a2b3c4: 3 created"; `name` a word for the state,
    `Completed` otherwise. An InterlockError becomes a state of its own name (Blocked, Refused, Unhealthy, …) whose
    message is the error's; anything else is a defect and keeps its traceback.
    """
    try:
        with in_errors(), enough_of_the_host("this run"):
            outcome = await order
    except InterlockError as error:
        return await _ended_by(error)
    return Completed(name=name(outcome) if name else "Completed", message=told(outcome))


async def _ended_by(error: InterlockError) -> State[Any]:
    name = next((name for kind, name in _NAMES if isinstance(error, kind)), "Failed")
    if isinstance(error, Superseded | Unbound):
        return Completed(name=name, message=error.message)
    message = f"{error.rule}: {error.message}" if isinstance(error, Refused) else error.message
    waits = isinstance(error, AwaitsApproval)
    get_run_logger().log(logging.INFO if waits else logging.ERROR, "%s: %s", name, error)
    hint = f"\n\n**What to do:** {cell(error.hint)}" if error.hint else ""
    lines = "\n".join(f"{cell(line)}  " for line in message.splitlines())
    try:
        await acreate_markdown_artifact(
            key="ending", description=f"{name}: {message.splitlines()[0]}", markdown=f"# {name}\n\n{lines}{hint}"
        )
    except httpx.HTTPError as away:
        get_run_logger().warning("Prefect was not told how it ended: %s: %s", type(away).__name__, away)
    # To wait for people is no failure: nobody is to be woken, and no run to be repeated.
    return Completed(name=name, message=message) if waits else Failed(name=name, message=message)
