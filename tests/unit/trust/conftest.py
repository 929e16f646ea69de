"""One world for the rules: an administrator, a developer, an approver, two CI machines, and a verified root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from interlock.contract.verification import Point, Verified
from tests.unit.trust.history import (
    BINDINGS,
    SIGNERS,
    Files,
    History,
    Key,
    binding,
    bindings_file,
    new_key,
    release_file,
    signer,
    signers_file,
)

CI_WRITES = ("environments/*/*/release.yaml", "environments/*/*/evidence/*")
RELEASE = "environments/dev/shop/release.yaml"
VALUES = "environments/dev/shop/values.yaml"


@dataclass
class World:
    history: History
    keys: dict[str, Key]
    root: str
    base: Point

    def signer(self, name: str) -> dict[str, object]:
        roles: dict[str, dict[str, object]] = {
            "admin": signer("admin", self.keys["admin"], "**"),
            "developer": signer("developer", self.keys["developer"], "environments/dev/**", "applications/**"),
            "approver": signer("approver", self.keys["approver"], "policy/**", approves=True),
            "ci": signer("ci", self.keys["ci"], *CI_WRITES, machine=True),
            "other-ci": signer("other-ci", self.keys["other-ci"], "**", machine=True),
        }
        return roles[name] if name in roles else signer(name, self.keys[name], "**")

    def signers(self, *names: str, ended: Sequence[Mapping[str, object]] = ()) -> bytes:
        return signers_file(*(self.signer(name) for name in names), ended=ended)

    def commit(self, parent: str | None, changes: Files, *, by: str | None, **more: object) -> str:
        return self.history.commit(parent, changes, by=self.keys[by] if by else None, **more)  # type: ignore[arg-type]

    def verify(self, new: str, *, base: Point | None = None) -> tuple[Verified, ...]:
        return self.history.verify(base or self.base, new)


EVERYBODY = ("admin", "developer", "approver", "ci", "other-ci")


@pytest.fixture
def world() -> World:
    keys = {name: new_key() for name in (*EVERYBODY, "newcomer", "stranger")}
    world = World(History(), keys, "", None)  # type: ignore[arg-type]
    files: Files = {
        SIGNERS: world.signers(*EVERYBODY),
        BINDINGS: bindings_file(binding("web", "ci"), binding("worker", "other-ci")),
        "policy/gate.yaml": b"format: 1\n",
        RELEASE: release_file(web="one", worker="one"),
        VALUES: b"replicas: 1\n",
    }
    world.root = world.commit(None, files, by="admin", message="Begin")
    world.base = world.history.point(world.root, keys["admin"])
    return world
