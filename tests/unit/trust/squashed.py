"""A request that a forge squashed into one commit of an environment repository, as plain values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

from interlock.contract import commit as commits
from interlock.contract import squash
from interlock.contract.commit import RawCommit
from interlock.contract.models import Account, Signer
from interlock.contract.reviews import Request, Review
from interlock.contract.squash import Squash
from interlock.contract.verification import Point, Trust, Verified
from tests.unit.trust.history import (
    BINDINGS,
    SIGNERS,
    Files,
    History,
    Key,
    bindings_file,
    new_key,
    signer,
    signers_file,
)

FORGE = "https://forge.example"
VALUES, POLICY = "environments/dev/shop/values.yaml", "policy/gate.yaml"
IDS = {"ada": 11, "ben": 12, "cleo": 13, "dora": 14, "eve": 15}
MAY = {
    "ada": ("**",),
    "ben": ("environments/**", "policy/**"),
    "cleo": ("environments/**",),
    "dora": ("environments/**",),
    "eve": ("environments/**",),
}


def account(name: str) -> Account:
    return Account(forge=FORGE, name=f"{name}-h", id=IDS[name])


@dataclass
class Squashed:
    """ada, ben and cleo approve; dora and eve only write. The forge may write everything but what its kind may not."""

    keys: dict[str, Key] = field(default_factory=lambda: {name: new_key() for name in (*IDS, "forge")})
    history: History = field(default_factory=History)
    root: str = ""
    said: dict[str, Squash] = field(default_factory=dict)
    """By commit, what the forge says and git has."""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        files = {SIGNERS: self.signers(), BINDINGS: bindings_file(), VALUES: b"a: 1\n", POLICY: b"format: 1\n"}
        self.root = self.history.commit(None, files, by=self.keys["ada"])

    def signers(self, **may: tuple[str, ...]) -> bytes:
        people = [
            {
                **signer(name, self.keys[name], *writes, approves=name in ("ada", "ben", "cleo")),
                "accounts": [account(name).model_dump()],
            }
            for name, writes in {**MAY, **may}.items()
        ]
        return signers_file(*people, {**signer("forge", self.keys["forge"], "**", machine=True), "forge": FORGE})

    def squash(
        self,
        parent: str,
        changes: Files,
        *reviewers: str,
        author: str = "dora",
        by: str | None = None,
        message: str = "Change (#7)",
    ) -> str:
        """The forge's commit of a request with one commit, `by` whom it is signed if it is, reviewed at its head."""
        head = self.history.commit(parent, changes, by=self.keys[by] if by else None, message="Change")
        made = self.history.commit(parent, changes, by=self.keys["forge"], message=message)
        given = tuple(Review(account(name), head, dt.datetime(2029, 12, 1, tzinfo=dt.UTC)) for name in reviewers)
        request = Request(7, account(author), head, frozenset({head}), given, made)
        tree = commits.parse(self.history.raw[head].data).tree
        self.said[made] = Squash(request, tree, True, (self.history.raw[head],))
        return made

    def otherwise(self, made: str, **fields: object) -> None:
        """The forge says something else of it."""
        found = self.said[made]
        request = {name: value for name, value in fields.items() if hasattr(found.request, name)}
        rest = {name: value for name, value in fields.items() if name not in request}
        self.said[made] = replace(found, request=replace(found.request, **request), **rest)  # type: ignore[arg-type]

    def vouch(self, raw: RawCommit, _: Signer, trust: Trust) -> frozenset[str]:
        self.asked.append(raw.id)
        return squash.vouching(raw, self.said[raw.id], trust)

    def base(self) -> Point:
        return self.history.point(self.root, self.keys["ada"])

    def verify(self, new: str, *, since: Point | None = None, known: bool = False) -> tuple[Verified, ...]:
        return self.history.judge(since or self.base(), new, known=known, vouch=self.vouch)[0]
