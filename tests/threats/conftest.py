"""The parts and worlds of the other rooms, for threats that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.common.prefect_api import Api, connected
from tests.cluster.conftest import dry_runs, impatient_world, observing_world, server, world
from tests.docker.conftest import new_walk, own_home, scanner_cache, shared_walk, walk
from tests.git.conftest import repository
from tests.prefect.conftest import Server as PrefectServer
from tests.prefect.conftest import running

__all__ = [
    "dry_runs",
    "impatient_world",
    "new_walk",
    "observing_world",
    "own_home",
    "repository",
    "scanner_cache",
    "server",
    "shared_walk",
    "walk",
    "world",
]


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server."""
    with running(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def prefect_api(prefect_server: PrefectServer) -> Iterator[Api]:
    """Its API, which knows no accounts."""
    with connected(prefect_server.api) as api:
        yield api
