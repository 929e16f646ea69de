"""Prefect's engine as a run's process has it: it unpickles nothing, and costs less.

Everything here is done once, in the parent of all runs, before it forks. What it changes is private to Prefect 3.8,
which pyproject.toml pins; tests/prefect/test_worker.py and tests/unit/prefect/test_engine.py see what of it fails.
"""

from __future__ import annotations

import functools
import ssl
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NoReturn

import certifi
from prefect.client import orchestration
from prefect.flow_engine import BaseFlowRunEngine
from prefect.serializers import PickleSerializer

from interlock.errors import ParameterError

QUIET_SECONDS = 10.0
_LATE = ("prefect.task_engine", "prefect.utilities.visualization", "anyio._backends._asyncio")
"""What Prefect imports in the middle of a run."""


def prepare() -> None:
    """Make this process, and what it forks, so."""
    _unpickle_nothing()
    _make_tls_contexts_once()
    _keep_short_runs_quiet()
    for name in _LATE:
        import_module(name)


def _unpickle_nothing() -> None:
    def refuse(self: object, blob: bytes) -> NoReturn:
        raise ParameterError("a pickled result was offered, and Interlock unpickles nothing")

    PickleSerializer.loads = refuse  # type: ignore[method-assign]


def _make_tls_contexts_once() -> None:
    """Each of a run's clients, some eight, would read all certificates."""
    made = functools.cache(ssl.create_default_context)
    made(cafile=certifi.where())
    # Only for Prefect's clients: whoever else asks for a context may want to change it.
    orchestration.ssl = SimpleNamespace(**{**vars(ssl), "create_default_context": made})  # type: ignore[assignment, attr-defined]


def _keep_short_runs_quiet() -> None:
    """No heartbeat as long as the run's start is a sign of life: at the end of a short run the two would cross, and
    Prefect, which then misses what comes after the heartbeat, would try to call a finished run crashed."""
    emit = BaseFlowRunEngine._emit_flow_run_heartbeat

    def late(self: BaseFlowRunEngine[Any, Any], *args: Any) -> None:
        began = self.__dict__.setdefault("_interlock_began", time.monotonic())
        if time.monotonic() - began > QUIET_SECONDS:
            emit(self, *args)

    BaseFlowRunEngine._emit_flow_run_heartbeat = late  # type: ignore[method-assign, assignment]
