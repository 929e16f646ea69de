"""A forge of each kind, for the test alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.forges.server import KINDS, FakeForge, ForgeServer, Kind
from tests.git.conftest import server

__all__ = ["server"]


@contextmanager
def serving(kind: Kind) -> Iterator[FakeForge]:
    forge = FakeForge(kind)
    with ForgeServer(forge) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield forge
        server.shutdown()


@pytest.fixture
def new_forge() -> Iterator[Callable[[Kind], FakeForge]]:
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(serving(kind))


@pytest.fixture(params=KINDS)
def forge(request: pytest.FixtureRequest, new_forge: Callable[[Kind], FakeForge]) -> FakeForge:
    return new_forge(request.param)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long one would have slept between two attempts."""
    slept: list[float] = []
    monkeypatch.setattr("tasks.common.forges.time.sleep", slept.append)
    return slept
