"""A run is started once for each thing that is to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasks.common.start_run import start
from tests.prefect.conftest import Server, Worker

DEV = {"environment": "dev"}


def test_one_key_starts_one_run(
    server: Server, worker: Worker, ended: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key again gives the run that exists, also when it has ended; another key gives another."""
    monkeypatch.setenv("PREFECT_API_URL", server.api)
    first = start.fn("plan/sandbox", DEV, "plan dev 1a2b")
    assert start.fn("plan/sandbox", DEV, "plan dev 1a2b") == first
    ended(first)
    assert start.fn("plan/sandbox", DEV, "plan dev 1a2b") == first

    other = start.fn("plan/sandbox", DEV, "plan dev 3c4d")

    assert other != first
    ended(other)
    assert [run["values"]["environment"] for run in worker.runs()] == ["dev", "dev"]
