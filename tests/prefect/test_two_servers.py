"""A Prefect server for each half, each with an account of its own: what production is advised to have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.contract.builtin import Half
from interlock.errors import PrefectError
from tasks.common.prefect_api import connected
from tests.prefect.conftest import Server, end, free_port, start_worker, until

ACCOUNTS: dict[Half, str] = {"ci": "ci:5d41402abc4b2a76", "cd": "cd:7d793037a0760186"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Half, Server]]:
    halves: tuple[Half, ...] = ("ci", "cd")
    made = {half: Server(tmp_path_factory.mktemp(half), free_port(), account=ACCOUNTS[half]) for half in halves}
    for each in made.values():
        each.start()
    yield made
    for each in made.values():
        each.stop()


def test_cis_account_is_of_no_use_at_cds_server(
    servers: dict[Half, Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever took CI over reads nothing there, starts nothing, and changes nothing; CD's worker works meanwhile."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", ACCOUNTS["cd"])
    worker = start_worker("cd", tmp_path / "cd", servers["cd"], account=ACCOUNTS["cd"])
    try:
        with connected(servers["cd"].api) as api:
            plan = {"flows": {"name": {"any_": ["plan"]}}}
            found = until("declaration", lambda: api.post("/deployments/filter", plan))[0]
            assert found["name"] == "sandbox"
            api.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": {"environment": "dev"}})
            until("run", worker.runs)

        for account in (ACCOUNTS["ci"], ""):
            monkeypatch.setenv("PREFECT_API_AUTH_STRING", account)
            with connected(servers["cd"].api) as api:
                for method, path in (
                    ("post", "/deployments/filter"),
                    ("post", "/block_documents/filter"),
                    ("post", f"/deployments/{found['id']}/create_flow_run"),
                    ("patch", "/work_pools/interlock-cd-sandbox"),
                ):
                    with pytest.raises(PrefectError, match="401"):
                        getattr(api, method)(path, {})
    finally:
        end(worker.process)


def test_nothing_of_cd_is_at_cis_server(servers: dict[Half, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the names of its environments and clusters."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", ACCOUNTS["ci"])
    with connected(servers["ci"].api) as api:
        assert api.post("/work_pools/filter", {}) == []
        assert api.post("/deployments/filter", {}) == []
