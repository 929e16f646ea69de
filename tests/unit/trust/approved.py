"""An environment repository with people who approve, as plain values: what approvals are judged by, without git."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.contract import approvals, commit, effects, layout, signature, strict_yaml, verification
from interlock.contract.approvals import Approval, Asked, Question
from interlock.contract.commit import RawCommit
from interlock.contract.models import Account
from interlock.contract.reviews import Found, Range
from interlock.contract.tree import Tree
from interlock.contract.verification import Point
from tests.unit.trust.history import Files, History, Key, bindings_file, new_key, signer

REPOSITORY, PROD = "a" * 12, "b" * 12
NOW = dt.datetime(2030, 1, 2, 12, tzinfo=dt.UTC)
VALUES = "environments/prod/shop/values.yaml"
SHARED = "applications/shop/values.yaml"
TEMPLATE = "templates/service/web.yaml.j2"
_TRUST = (layout.SIGNERS, layout.BINDINGS)
PEOPLE = ("ada", "ben", "cleo", "dora")
ADMIN = ("trust/**", "environments/**", "applications/**", "templates/**", "policy/**", "environments.yaml")


@dataclass
class Place:
    """`prod` asks for approvals of `rule`. ada, ben and cleo approve; dora only writes. All may write all else."""

    rule: Mapping[str, object] = field(default_factory=lambda: {"required": 1})
    keys: dict[str, Key] = field(default_factory=lambda: {name: new_key() for name in PEOPLE})
    history: History = field(default_factory=History)
    accounts: dict[str, list[Account]] = field(default_factory=dict)
    """Whose accounts on a forge."""
    head: str = ""

    def __post_init__(self) -> None:
        self.head = self.history.commit(None, self.files(), by=self.keys["ada"])

    def files(self) -> dict[str, bytes | None]:
        return {
            layout.ENVIRONMENTS: f'format: 1\nid: "{REPOSITORY}"\n'.encode(),
            layout.SIGNERS: self.signers(self.rule),
            layout.BINDINGS: bindings_file(),
            layout.GATE: b"format: 1\n",
            **{
                layout.environment(name): f'format: 1\nid: "{id_}"\ncluster: c\nnamespaces: [{name}]\n'.encode()
                for name, id_ in (("prod", PROD), ("dev", "c" * 12))
            },
            layout.application("shop"): b"format: 1\ntemplate: service\n",
            SHARED: b"replicas: 1\n",
            VALUES: b"greeting: hello\n",
            "environments/dev/shop/values.yaml": b"greeting: hi\n",
            TEMPLATE: b"kind: ConfigMap\n",
        }

    def signers(self, rule: Mapping[str, object] | None, **keys: Key) -> bytes:
        people = [signer(name, key, *ADMIN, approves=name != "dora") for name, key in {**self.keys, **keys}.items()]
        for each in people:
            if theirs := self.accounts.get(str(each["name"])):
                each["accounts"] = [account.model_dump() for account in theirs]
        rules = {"approvals": {"prod": dict(rule)}} if rule is not None else {}
        return strict_yaml.dump({"format": 1, "signers": people, **rules}).encode()

    def push(self, changes: Files, *, by: str | None = "dora", message: str = "Change") -> str:
        self.head = self.history.commit(self.head, changes, by=self.keys[by] if by else None, message=message)
        return self.head

    def approve(self, name: str, *, deployed: str | None, key: Key | None = None, **other: Any) -> str:
        """`name` approves what the head says; `other` fields instead of the right ones. Gives the file's path."""
        given = Approval.model_validate({**self.right(name, deployed), **other})
        armored = signature.sign(
            (key or self.keys[name]).private, approvals.statement(given), namespace=approvals.NAMESPACE
        )
        path = layout.approval("prod", name, given.reads, given.base)
        self.push({path: approvals.write(given, armored)}, by=name)
        return path

    def right(self, name: str, deployed: str | None) -> dict[str, object]:
        tree = self.tree(self.head)
        return {
            "format": 1,
            "repository": REPOSITORY,
            "branch": "main",
            "environment": PROD,
            "base": deployed,
            "reads": effects.digest_of(effects.reads(tree, "prod")),
            "approver": name,
            "given": approvals.spelt(NOW - dt.timedelta(hours=1)),
            "ends": approvals.spelt(NOW + dt.timedelta(hours=1)),
        }

    def ask(
        self, *, deployed: str | None, now: dt.datetime = NOW, root: str | None = None, forge: Found | None = None
    ) -> Question | None:
        return approvals.question(self, self.asked(now, root), deployed=deployed, commit=self.head, forge=forge)

    def to_ask(self, *, deployed: str | None) -> Range | None:
        return approvals.to_ask(self, self.asked(), deployed=deployed, commit=self.head)

    def asked(self, now: dt.datetime = NOW, root: str | None = None) -> Asked:
        return Asked(REPOSITORY, "main", "prod", PROD, now, root)

    def answered(self, *, deployed: str | None, now: dt.datetime = NOW, root: str | None = None) -> bool:
        found = self.ask(deployed=deployed, now=now, root=root)
        return found is None or found.answered

    # effects.History

    def tree(self, commit: str) -> Tree:
        return Tree.of(self.history.files[commit], commit=commit)

    def tree_id(self, commit_: str) -> str:
        return commit.parse(self.history.raw[commit_].data).tree

    def commits(self, old: str | None, new: str) -> Sequence[RawCommit]:
        line: list[RawCommit] = []
        at: str | None = new
        while at and at != old:
            line.append(self.history.raw[at])
            at = next(iter(self.history.parents[at]), None)
        return tuple(reversed(line))

    def descends(self, old: str, new: str) -> bool:
        if new not in self.history.raw:
            return False
        return old == new or old in {
            parent for raw in self.commits(old, new) for parent in self.history.parents[raw.id]
        }

    def refuses(self, commit: RawCommit) -> bool:
        parent = self.history.parents[commit.id][0]
        files = self.history.files[parent]
        trust = verification.trust_of({path: files[path] for path in _TRUST}, commit=parent)
        point = Point(parent, self.tree_id(parent), trust)
        return verification.refuses(commit, point, blobs=self.history.blobs.get)
