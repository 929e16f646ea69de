"""`interlock why` on a CI host: from the source's protected branch to the release commit, over real git servers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.examples_of_repositories import environment_tree, release_files
from tests.git.conftest import Key, Repository, Server, make_repository
from tests.unit.cli.commands import program


@dataclass
class CiWorld:
    environments: Repository
    source: Repository
    config: Path
    head: str

    def why(self, folder: Path, what: str) -> Any:
        done = program("why", what, "--output", "json", folder=folder, env={"INTERLOCK_CONFIG": str(self.config)})
        assert done.returncode == 1, done.stderr
        (report,) = json.loads(done.stdout)
        return {gate["name"]: gate for gate in report["data"]["gates"]}


@pytest.fixture
def ci(server: Server, tmp_path: Path) -> CiWorld:
    """A source bound to `dev`, whose repository and environment repository are on a server; Prefect is away."""
    environments, source = make_repository(server, tmp_path), make_repository(server, tmp_path)
    machine = Key.make(tmp_path / "ci-key")
    tree = environment_tree(released=False, person_key=environments.key.public, machine_key=machine.public)
    root = environments.push(None, dict(tree.files), message="Begin")

    def remote(of: Repository, role: str) -> dict[str, str]:
        given = of.as_role(role)
        return {"url": given.url, "auth": str(given.auth)}

    value = {
        "format": 1,
        "prefect": "http://127.0.0.1:9/api",
        "state": str(tmp_path / "state"),
        "environment_repository": {
            "name": "environments",
            **remote(environments, "ci"),
            "root": {"commit": root, "keys": [environments.key.public]},
        },
        "signing": {"signer": "ci-shop", "key": str(machine.path)},
        "repositories": {"shop": remote(source, "ci")},
        "registry": {"host": "127.0.0.1:5000", "insecure": True},
        "trivy": {"cache": str(tmp_path / "trivy"), "database": "pinned"},
    }
    config = tmp_path / "ci.yaml"
    config.write_text(json.dumps(value))
    config.chmod(0o644)
    return CiWorld(environments, source, config, root)


def test_an_unmerged_commit_is_held_at_the_source(ci: CiWorld, tmp_path: Path) -> None:
    """A commit that is in no protected branch of a registered repository."""
    ci.source.push(None, {"a": b"1"})

    gates = ci.why(tmp_path, "abcdef0")

    assert gates["source"]["state"] == "holds" and "not on the protected branch of shop" in gates["source"]["said"]
    assert gates["CI run"]["state"] == "later"


def test_a_merged_commit_waits_for_its_run(ci: CiWorld, tmp_path: Path) -> None:
    """It is on the branch, also when it is not its head, and no run is known."""
    commit = ci.source.push(None, {"a": b"1"})
    ci.source.push(commit, {"a": b"2"})

    gates = ci.why(tmp_path, commit[:8])

    assert gates["source"]["state"] == "passes"
    assert gates["CI run"]["state"] == "holds" and gates["CI run"]["who"] == "CI's worker"


def test_a_released_commit_passes_up_to_the_release(ci: CiWorld, tmp_path: Path) -> None:
    """Evidence proves run and verdict, the release commit has its signer; the rest is CD's to tell."""
    commit = ci.source.push(None, {"a": b"1"})
    release = ci.environments.push(ci.head, release_files(source_commit=commit))

    gates = ci.why(tmp_path, commit[:8])

    assert {name: gate["state"] for name, gate in gates.items()} == {
        "source": "passes", "CI run": "passes", "gate": "passes", "release": "passes", "deploy": "unknown",
    }  # fmt: skip
    assert gates["release"]["said"] == f"{release[:12]}, signed by ada"
    assert gates["deploy"]["command"] == f"on CD's host: interlock why {commit[:12]}"
