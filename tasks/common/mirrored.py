"""A mirror's commits as values, for what is decided over a range of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlock.contract import effects
from interlock.contract.commit import RawCommit
from interlock.contract.tree import Tree
from tasks.common import git
from tasks.common.environment_repository import refuses


@dataclass(frozen=True)
class Mirrored:
    """A mirror's commits, of which no more is read than environments read."""

    mirror: Path
    known: dict[str, Tree] = field(default_factory=dict)

    def tree(self, commit: str) -> Tree:
        if commit not in self.known:
            wanted = {
                each.path: each.blob for each in git.list_files(self.mirror, commit) if effects.concerns(each.path)
            }
            blobs = git.read_blobs(self.mirror, set(wanted.values()))
            self.known[commit] = Tree.of({path: blobs[blob] for path, blob in wanted.items()}, commit=commit)
        return self.known[commit]

    def tree_id(self, commit: str) -> str:
        return git.tree_id(self.mirror, commit)

    def commits(self, old: str | None, new: str) -> Sequence[RawCommit]:
        return git.read_commits(self.mirror, old, new)

    def descends(self, old: str, new: str) -> bool:
        return git.has_commit(self.mirror, new) and git.is_ancestor(self.mirror, old, new)

    def refuses(self, commit: RawCommit) -> bool:
        return refuses(self.mirror, commit)
