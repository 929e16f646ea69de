"""What a way to make Trivy look away consists of, and plain Trivy, run as people run it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.ci import remembered
from tasks.ci.kept import Kept

TOKEN = "ghp_" + "Zx81" * 9  # nobody's
KEY = f'token = "{TOKEN}"\n'
PINNED = "requests==2.19.0\n"
ROOT = "FROM debian:12\nUSER root\n"

Files = Mapping[str, "str | bytes"]


@dataclass(frozen=True)
class Bypass:
    """A folder with a finding, and the same with something that hides it.

    `settings` are of a trivy.yaml in the folder. `hidden`, `id path:line`, is what our scanner must find all the same.
    """

    honest: Files
    tricked: Files
    hidden: str
    settings: Mapping[str, object] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    """For plain Trivy, in both runs."""
    dockerfiles: tuple[str, ...] = ()
    """That interlock.yaml would name."""

    @property
    def id(self) -> str:
        return self.hidden.partition(" ")[0]


@dataclass(frozen=True)
class Plain:
    """Trivy in the folder that it scans, with the person's home and variables."""

    program: Path
    home: Path
    """In which its cache with the database is, where Trivy looks for it by default."""

    def run(
        self,
        *words: str,
        cwd: Path,
        variables: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        seconds: float = 60,
        offline: bool = True,
    ) -> frozenset[str]:
        """The ids that it reports; it must end with 0, as a run does that a pipeline takes for clean."""
        flags = ("--skip-db-update", "--skip-java-db-update", "--skip-check-update", "--offline-scan") * offline
        done = subprocess.run(
            [*before, str(self.program), *words, *flags, "--quiet", "--format", "json"],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)} | dict(variables or {}),
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr.decode()
        return found(done.stdout)

    def show(self, bypass: Bypass, folder: Path) -> None:
        """That it finds what is there, and does not once it is hidden."""
        for name, files, expected in (("honest", bypass.honest, True), ("tricked", bypass.tricked, False)):
            write(folder / name, files)
            tricked = not expected
            if tricked and bypass.settings:
                (folder / name / "trivy.yaml").write_text(json.dumps(bypass.settings))
            variables = bypass.variables if tricked else {}
            ids = self.run("fs", ".", *bypass.options, cwd=folder / name, variables=variables)
            assert (bypass.id in ids) is expected, f"{bypass.id} in the {name} folder: found {sorted(ids)}"


def write(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def found(report: bytes) -> frozenset[str]:
    """The ids of everything in Trivy's JSON that is a finding."""
    kinds = {"Vulnerabilities": "VulnerabilityID", "Secrets": "RuleID", "Misconfigurations": "ID"}
    return frozenset(
        each[name]
        for result in json.loads(report).get("Results") or ()
        for kind, name in kinds.items()
        for each in result.get(kind) or ()
    )


class Unsealed(Kept):
    """What earlier runs found, believed whoever wrote it: what a cache without seals is."""

    def read(self, name: str) -> bytes | None:
        return remembered.read(self.folder, name)


def nothing_found(sealed: bytes) -> bytes:
    """A kept scan's content, without its seal and its findings."""
    return json.dumps(json.loads(sealed[32:]) | {"findings": []}).encode()
