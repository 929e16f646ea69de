"""A change of `prod`, and a forge on which people review it: what threats about reviews have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.contract.approvals import Question
from interlock.contract.models import Account
from tasks.common.reviews import doors
from tests.forges.reviewing import USERS, Pull, Reviewing, reviewing
from tests.forges.server import Kind
from tests.unit.trust.approved import VALUES, Place

RULE = {"required": 1, "reviews": True}


@dataclass
class Reviewed:
    """`prod` takes reviews; ada, ben, cleo and dora have an account each. dora has changed it in the request 7."""

    forge: Reviewing
    place: Place
    deployed: str
    commits: list[str]
    token: Path

    @property
    def pull(self) -> Pull:
        return self.forge.pulls[0]

    def push(self, text: bytes) -> str:
        """Another commit of the request."""
        commit = self.place.push({VALUES: text})
        self.pull.commits.append(commit)
        return commit

    def ask(self) -> Question:
        """What CD finds, with what the forge says of it."""
        range_ = self.place.to_ask(deployed=self.deployed)
        assert range_ is not None
        said = doors.found(self.forge.account(self.token), "main", range_)
        found = self.place.ask(deployed=self.deployed, forge=said)
        assert found is not None
        return found


@contextmanager
def reviewed(folder: Path, kind: Kind = "github") -> Iterator[Reviewed]:
    with reviewing(kind) as forge:
        accounts = {
            name: [Account(forge=forge.url, name=f"{name}-h", id=USERS[f"{name}-h"])]
            for name in ("ada", "ben", "cleo", "dora")
        }
        place = Place(RULE, accounts=accounts)
        deployed = place.head
        commit = place.push({VALUES: b"greeting: bye\n"})
        forge.pulls = [Pull(7, "dora-h", [commit])]
        yield Reviewed(forge, place, deployed, [commit], folder / "token")
