"""`interlock register cd`: what is kept when the head is written anew: of the ledger, and the forge that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.unit.cli.commands import program
from tests.unit.trust.history import new_key

GIVEN = (
    *("--prefect", "http://127.0.0.1:4200/api", "--environment-repository", "environments"),
    *("--url", "https://git.example/environments.git", "--root-commit", "1" * 40),
    *("--signer", "cd", "--key", "/etc/interlock/cd.key"),
    *("--ledger", "ledger", "--ledger-url", "https://git.example/ledger.git"),
)


def register(folder: Path, *more: str, section: str = "ledger") -> Any:
    command = ("register", "cd", *GIVEN, "--root-key", new_key().public, "--config", str(folder / "cd.yaml"), *more)
    done = program(*command, folder=folder)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load((folder / "cd.yaml").read_text())[section]


def test_receipts_queue_where_that_is_asked_for(tmp_path: Path) -> None:
    """Without the option nothing is written of it, and a later registration keeps it and the keys of before."""
    assert "unreachable" not in register(tmp_path)

    assert register(tmp_path, "--ledger-unreachable", "queue")["unreachable"] == "queue"
    file = tmp_path / "cd.yaml"
    value = yaml.safe_load(file.read_text())
    value["ledger"]["keys"] = [new_key().public]
    file.write_text(yaml.safe_dump(value))

    again = register(tmp_path)
    assert again["unreachable"] == "queue" and len(again["keys"]) == 1
    assert register(tmp_path, "--ledger-unreachable", "stop")["unreachable"] == "stop"


def test_the_forge_that_is_asked_stays(tmp_path: Path) -> None:
    """A later registration keeps the account that was given by hand."""
    register(tmp_path)
    file = tmp_path / "cd.yaml"
    value = yaml.safe_load(file.read_text())
    account = {"kind": "gitea", "url": "https://forge.example", "project": "acme/environments", "token": "/etc/x"}
    value["environment_repository"]["reviews"] = account
    file.write_text(yaml.safe_dump(value))

    assert register(tmp_path, section="environment_repository")["reviews"] == account
