"""What Prefect's page of a run draws: steps by name, each after those that it came after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.prefect.conftest import Server, until

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_is_drawn_as_a_graph(server: Server, tmp_path: Path) -> None:
    """Components side by side, each named in its steps; what all share comes before all of their releases."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_API_URL": server.api}
    command = [sys.executable, "-m", "tests.prefect.graph"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, timeout=120)

    def drawn() -> dict[str, set[str]] | None:
        with httpx.Client(base_url=server.api) as api:
            query = {"flows": {"name": {"any_": ["graph"]}}, "limit": 1}
            (run,) = api.post("/flow_runs/filter", json=query).raise_for_status().json()
            nodes = [node for _, node in api.get(f"/flow_runs/{run['id']}/graph-v2").raise_for_status().json()["nodes"]]
        names = {node["id"]: node["label"] for node in nodes}
        found = {
            node["label"]: {names[each["id"]] for each in node["parents"] if each["id"] in names} for node in nodes
        }
        return found if len(found) == 8 else None

    assert until("eight steps", drawn) == {
        "check out": set(),
        "scan sources": {"check out"},
        "build image of api": {"check out"},
        "run tests of api": {"build image of api"},
        "release of api": {"run tests of api", "scan sources"},
        "build image of web": {"check out"},
        "run tests of web": {"build image of web"},
        "release of web": {"run tests of web", "scan sources"},
    }
