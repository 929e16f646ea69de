"""Our verifier beside git's own over the same signed commits: a row that needs no cluster."""

from __future__ import annotations

import os
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Claim, Row, compare
from interlock.contract import commit as commits
from interlock.contract import layout, signature, strict_yaml
from interlock.contract.commit import Person
from interlock.contract.host import RootPin
from sandbox.supervisor import Sandbox
from tasks.common import environment_repository, git

PEER = "git verify-commit"
_AUTHOR = Person("Bench", "bench@example.org")
_VALUES = layout.values("dev", "shop")


@dataclass(frozen=True)
class History:
    """A mirror with a root, and commits behind it, each signed and each changing a file."""

    mirror: Path
    pin: RootPin
    ids: tuple[str, ...]
    allowed: Path
    """What git asks about keys."""

    def ours(self) -> None:
        """Every rule for every commit: signature, line of parents, paths, scopes, trust."""
        found = environment_repository.verify(self.mirror, self.pin, self.ids[-1], since=self.pin.commit)
        assert len(found) == len(self.ids)

    def gits(self) -> None:
        """The signature alone, of all commits in one call."""
        settings = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={self.allowed}")
        command = ("git", f"--git-dir={self.mirror}", *settings, "verify-commit", *self.ids)
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(command, check=True, capture_output=True, env=environment)


def history(folder: Path, count: int) -> History:
    """Made of loose objects, which is quick, and packed then as a fetch leaves them."""
    mirror, key = folder / "verifier.git", folder / "verifier.key"
    git.create(mirror)
    private, public = signature.generate_key()
    key.touch(mode=0o600)
    key.write_bytes(private)
    signers = [{"name": "ada", "key": public, "writes": ["**"]}]
    files: dict[str, bytes | None] = {
        layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": signers}).encode(),
        layout.BINDINGS: strict_yaml.dump({"format": 1, "bindings": []}).encode(),
        **{layout.values("dev", f"app-{number}"): b"replicas: 1\n" for number in range(50)},
    }
    root = git.write_commit(mirror, None, files, message="Begin", key=key, author=_AUTHOR)
    other = git.write_commit(mirror, root, {_VALUES: b"replicas: 2\n"}, message="Change", key=key, author=_AUTHOR)
    trees = [git.tree_id(mirror, each) for each in (root, other)]
    ids, head = list[str](), root
    for number in range(1, count + 1):
        head = _commit(mirror, trees[number % 2], head, number, private)
        ids.append(head)
    _plain(mirror, "update-ref", "refs/heads/main", head)
    _plain(mirror, "repack", "-a", "-d", "-q")
    allowed = folder / "allowed"
    allowed.write_text(f'bench@example.org namespaces="git" {public}\n')
    return History(mirror, RootPin(commit=root, keys=(public,)), tuple(ids), allowed)


def _commit(mirror: Path, tree: str, parent: str, seconds: int, private: bytes) -> str:
    data = commits.unsigned(tree=tree, parents=(parent,), author=_AUTHOR, seconds=seconds, message="Change")
    data = commits.signed(data, private)
    made = commits.object_id("commit", data)
    path = mirror / "objects" / made[:2] / made[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(b"commit %d\0" % len(data) + data))
    return made


def _plain(mirror: Path, *words: str) -> None:
    subprocess.run(("git", f"--git-dir={mirror}", *words), check=True, capture_output=True)


def verifier(_: Sandbox, folder: Path, count: int) -> list[Row]:
    """What a host does with many new commits, beside git asked for their signatures alone."""
    found = history(folder, count)
    what = f"{count} new signed commits, each judged by every rule"
    return compare((Claim(f"verify-{count}", what, found.ours, {PEER: "≤ 0.1"}),), {PEER: found.gits}, runs=3)
