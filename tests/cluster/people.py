"""People who approve, in a world: their keys among the signers, and what they push."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from interlock.contract import approvals, effects, layout, signature
from interlock.contract.approvals import Approval
from interlock.contract.tree import Tree
from tasks.common import git
from tests.cluster.worlds import World
from tests.git.conftest import Key

Accounts = Mapping[str, Sequence[Mapping[str, object]]]
"""On forges, of each."""
NO_ACCOUNTS: Accounts = {}


@dataclass
class People:
    """ada founded the repository; ben and cleo approve; dora only writes. All may write everything but trust."""

    world: World
    keys: Mapping[str, Key]
    repository_id: str
    accounts: Accounts = field(default_factory=dict)

    def push(self, changes: Mapping[str, str | None], *, by: str = "dora") -> str:
        encoded = {path: None if text is None else text.encode() for path, text in changes.items()}
        repository, before = self.world.repository, self.world.head
        self.world.head = repository.write(before, encoded, by=self.keys[by])
        git.push(repository.mirror, self.world.head, repository.remote, expected=before)
        return self.world.head

    def signers(self, rule: Mapping[str, object] | None, **more: Key) -> str:
        keys = {**self.keys, **more}
        people = [
            {
                "name": name,
                "key": key.public,
                "writes": ["**"] if name == "ada" else ["environments/**", "applications/**", "templates/**"],
                "approves": name != "dora",
                **({"accounts": list(self.accounts[name])} if name in self.accounts else {}),
            }
            for name, key in keys.items()
        ]
        rules = {"approvals": {"dev": dict(rule)}} if rule is not None else {}
        return yaml.safe_dump({"format": 1, "signers": people, **rules})

    def tree(self) -> Tree:
        return git.read_tree(self.world.repository.mirror, self.world.head)

    def approve(self, name: str, *, deployed: str | None, hours: float = 1, given: dt.datetime | None = None) -> str:
        """`name` agrees to what the head says, and pushes it; the approval's path."""
        begins = given or dt.datetime.now(dt.UTC)
        approval = Approval(
            format=1,
            repository=self.repository_id,
            branch="main",
            environment=self.world.environment_id,
            base=deployed,
            reads=effects.digest_of(effects.reads(self.tree(), "dev")),
            approver=name,
            given=approvals.spelt(begins),
            ends=approvals.spelt(begins + dt.timedelta(hours=hours)),
        )
        private = Path(self.keys[name].path).read_bytes()
        armored = signature.sign(private, approvals.statement(approval), namespace=approvals.NAMESPACE)
        path = layout.approval("dev", name, approval.reads, deployed)
        self.push({path: approvals.write(approval, armored).decode()}, by=name)
        return path


def make_people(
    world: World, folder: Path, rule: Mapping[str, object] | None, accounts: Accounts = NO_ACCOUNTS
) -> People:
    """The environment's first commit is deployed by nobody yet; its signers and rule come with the second."""
    keys = {"ada": world.repository.key, **{name: Key.make(folder / f"{name}-key") for name in ("ben", "cleo", "dora")}}
    identity = git.read_tree(world.repository.mirror, world.head).text(layout.ENVIRONMENTS)
    people = People(world, keys, yaml.safe_load(identity)["id"], accounts)
    people.push({layout.SIGNERS: people.signers(rule)}, by="ada")
    return people
