"""An application repository on the git server, whose pushes are judged by what an environment repository wants."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.ci.host import CiHost
from interlock.cli.main import main
from interlock.contract import layout, strict_yaml
from interlock.contract.attesters import Attester
from tasks.ci.source import check_out, require_signed, resolve_head
from tasks.common import git
from tests.examples_of_repositories import environment_tree
from tests.git.conftest import Key, Server, make_repository
from tests.git.guarded import Guarded

CODE = "app.py"
DESCRIBED = b"format: 1\ncomponents:\n  web:\n    tests: {command: [pytest]}\n"
FIRST: dict[str, bytes | None] = {layout.APPLICATION_REPOSITORY: DESCRIBED, CODE: b"print(1)\n"}
UNSIGNED = "nobody signs evidence in these tests"


@dataclass
class GuardedSource(Guarded):
    """`ada` signs commits of the application; `policy` is a clone of the environment repository that says so."""

    policy: Path

    @property
    def command(self) -> list[str]:
        return ["protect", "hook", str(self.repository.bare), "--application", "shop", "--policy", str(self.policy)]

    def guard(self) -> None:
        assert main(self.command) == 0

    def want(self, wanted: Mapping[str, Any] | None = None, **attester: Any) -> None:
        """Commit what the environment repository wants of `shop`."""
        entry = {"source": "shop", "unsigned": UNSIGNED, **attester}
        files = {
            layout.ATTESTERS: strict_yaml.dump({"format": 1, "attesters": [entry]}),
            layout.PROTECTION: strict_yaml.dump({"format": 1, "repositories": {"shop": dict(wanted or {})}}),
        }
        commit_files(self.policy, environment_tree(files).files)

    def builds(self) -> str:
        """The commit that CI resolves, verifies and checks out."""
        fields: dict[str, Any] = {"state": self.state, "repositories": {"shop": self.repository.as_role("cd")}}
        host = CiHost.model_construct(**fields)
        head = resolve_head.fn(host, "shop", None)
        attester = Attester(source="shop", unsigned=UNSIGNED, commit_keys=(self.ada.public,))
        require_signed.fn(host, head, attester)
        with tempfile.TemporaryDirectory(dir=self.state) as folder:
            check_out.fn(host, head, Path(folder) / "run")
        return head.commit


def commit_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    command = ("git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run((*command[:3], "init", "--quiet"), check=True)
    subprocess.run((*command, "add", "--all", "--force"), check=True)
    subprocess.run((*command, "commit", "--quiet", "--no-gpg-sign", "--message", "Policy"), check=True)


def make_guarded_source(server: Server, folder: Path, *, empty: bool = False) -> GuardedSource:
    repository = make_repository(server, folder)
    ada, ben = Key.make(folder / "ada"), Key.make(folder / "ben")
    root = repository.write(None, FIRST, by=ada)
    policy = folder / "environments"
    policy.mkdir()
    guarded = GuardedSource(repository, ada, ben, folder / "state", root, policy)
    if not empty:
        git.push(repository.mirror, root, repository.remote, expected=None)
    guarded.want(commit_keys=[ada.public])
    guarded.guard()
    return guarded
