"""A world for each test: an own environment in the run's one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.cd.objects import Body
from sandbox.parts.kubernetes import Kubernetes
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster
from tests.cluster.worlds import World, make_world
from tests.git.conftest import Server
from tests.git.conftest import server as server  # noqa: PLC0414 - a fixture of that room, used here too


@pytest.fixture
def world(cluster: Kubernetes, sandbox: Sandbox, server: Server, tmp_path: Path) -> World:
    """An environment `dev` that undoes drift, with one ConfigMap in Git and nothing in the cluster."""
    return make_world(sandbox.place, server, tmp_path)


@pytest.fixture
def observing_world(cluster: Kubernetes, sandbox: Sandbox, server: Server, tmp_path: Path) -> World:
    """The same, only observing drift."""
    return make_world(sandbox.place, server, tmp_path, drift="observe")


@pytest.fixture
def impatient_world(cluster: Kubernetes, sandbox: Sandbox, server: Server, tmp_path: Path) -> World:
    """The same as `world`, which waits no time for health: there is no node."""
    return make_world(sandbox.place, server, tmp_path, health_seconds=1)


@pytest.fixture
def dry_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects that a plan sends to a dry run."""
    names: list[str] = []
    apply = Cluster.apply

    def counted(self: Cluster, body: Body, *, dry_run: bool = False, **how: Any) -> Any:
        if dry_run:
            names.append(body["metadata"]["name"])
        return apply(self, body, dry_run=dry_run, **how)

    monkeypatch.setattr(Cluster, "apply", counted)
    return names
