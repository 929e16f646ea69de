"""One whole pipeline in the run's sandbox; the tests of this folder play on it in the order in which they stand."""

from __future__ import annotations

import pytest

from sandbox.pipeline import Pace, Pipeline, stand_up
from sandbox.supervisor import Sandbox


@pytest.fixture(scope="session")
def pipeline(
    sandbox: Sandbox,
    *,
    git_server: object,
    registry: object,
    docker_daemon: object,
    base_image: object,
    trivy_database: object,
    prefect_server: object,
    node: object,
) -> Pipeline:
    """The example service with everything around it, just pushed for the first time."""
    return stand_up(sandbox, pace=Pace(resync=30, poll=20))
