"""One effect, one Prefect task: what touches the outside is made with `@effect`.

Nothing is cached or kept as a result in Prefect, whose database is not trusted. Only a ToolError that calls itself
transient is tried again. Without Prefect, `some_effect.fn(...)` is the plain function, and Prefect, which takes more
than a second to import, is not even loaded.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from interlock.errors import ToolError
from tasks.common.redaction import in_errors
from tasks.common.stopping import is_stopped

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Effect(Generic[P, R]):
    """A plain function, `fn`, and how it runs as a task: called as a whole it is one."""

    fn: Callable[P, R]
    name: str
    retries: int
    retry_delay_seconds: float
    timeout_seconds: float | None
    task_run_name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.task(*args, **kwargs)

    def title(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """What Prefect would call this run of it."""
        found = signature(self.fn).bind(*args, **kwargs)
        found.apply_defaults()
        return self.task_run_name.format(**found.arguments)

    @cached_property
    def task(self) -> Task[P, R]:
        from prefect import Task
        from prefect.cache_policies import NO_CACHE

        return Task(
            self.fn,
            name=self.name,
            retries=self.retries,
            retry_delay_seconds=self.retry_delay_seconds,
            retry_condition_fn=_may_help,
            timeout_seconds=self.timeout_seconds,
            task_run_name=self.task_run_name,
            cache_policy=NO_CACHE,
            persist_result=False,
        )


def effect(
    *,
    name: str,
    retries: int = 0,
    retry_delay_seconds: float = 2,
    timeout_seconds: float | None = None,
    task_run_name: str | None = None,
) -> Callable[[Callable[P, R]], Effect[P, R]]:
    """Make a plain function an effect. It may be run twice without harm.

    `task_run_name` is a format string over the function's arguments, such as `"scan {subject}"`; without one, Prefect
    would append a random suffix to the name. `timeout_seconds` does not stop a blocking call: give the tool its own
    limit too.
    """

    def decorate(function: Callable[P, R]) -> Effect[P, R]:
        @wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            with in_errors(), enough_of_the_host(name):
                return function(*args, **kwargs)

        return Effect(told, name, retries, retry_delay_seconds, timeout_seconds, task_run_name or name)

    return decorate


_SCARCE = {
    errno.ENOSPC: "make room on that disk, then run again",
    errno.EDQUOT: "raise the quota of the worker's user, then run again",
    errno.EFBIG: "raise the worker's limit on the size of files (ulimit -f), then run again",
    errno.EMFILE: "raise the worker's limit on open files (ulimit -n), then run again",
    errno.ENFILE: "this host has too many open files: find out whose they are",
    errno.ENOMEM: "this host is out of memory: find out what uses it",
    errno.EAGAIN: "this host has too many processes, or the worker's user has: find out whose they are",
    errno.EROFS: "mount that disk for writing; after a disk's failure it may have become read-only",
    errno.EIO: "the disk fails: look into the kernel's log",
}
"""What a host may run out of, and what to do about it."""


@contextmanager
def enough_of_the_host(what: str) -> Iterator[None]:
    """ToolError when the host has not what `what` needs: room on a disk, files, memory. Other errors are defects."""
    try:
        yield
    except OSError as error:
        if error.errno not in _SCARCE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        raise ToolError(f"{what}: {place}{error.strerror}", hint=_SCARCE[error.errno]) from error


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help. `state.data` is the exception itself: nothing of it is stored."""
    return isinstance(state.data, ToolError) and state.data.transient and not is_stopped()
