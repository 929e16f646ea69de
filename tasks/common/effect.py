"""One effect, one Prefect task: what touches the outside is made with `@effect`.

Nothing is cached or kept as a result in Prefect, whose database is not trusted. Only a ToolError that calls itself
transient is tried again. Without Prefect, `some_effect.fn(...)` is the plain function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from interlock.errors import ToolError

P = ParamSpec("P")
R = TypeVar("R")


def effect(
    *,
    name: str,
    retries: int = 0,
    retry_delay_seconds: float = 2,
    timeout_seconds: float | None = None,
    task_run_name: str | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a plain function an effect. It may be run twice without harm.

    `task_run_name` is a format string over the function's arguments, such as `"scan {subject}"`. `timeout_seconds`
    does not stop a blocking call: give the tool its own limit too.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            function,
            name=name,
            retries=retries,
            retry_delay_seconds=retry_delay_seconds,
            retry_condition_fn=_may_help,
            timeout_seconds=timeout_seconds,
            task_run_name=task_run_name or name,  # without one, Prefect appends a random suffix
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    return decorate


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help. `state.data` is the exception itself: nothing of it is stored."""
    return isinstance(state.data, ToolError) and state.data.transient
