"""A squashed request on a git server, with the forge's API beside it: what a host that verifies it does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from interlock.contract import layout, strict_yaml
from interlock.contract.host import EnvironmentRemote
from interlock.errors import ForgeError, GitError, Refused
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, fetch_verified, judged, passes
from tasks.common.squashes import Squashes
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT
from tests.forges.reviewing import USERS, Given, Pull, Reviewing, reviewing
from tests.forges.server import KINDS
from tests.git.conftest import Key, Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)
CHANGE: dict[str, bytes | None] = {VALUES: b"replicas: 3\n"}


@dataclass
class Squashing:
    """ada has let the forge sign, and ben approve; the request 7 of dora's is merged by the forge, squashed."""

    world: World
    forge: Reviewing
    base: str
    """With the forge among the signers."""
    forge_key: Key
    token: Path

    @property
    def remote(self) -> EnvironmentRemote:
        return self.world.remote.model_copy(update={"reviews": self.forge.account(self.token)})

    def squash(self, *, onto: str = "", also: dict[str, bytes | None] | None = None) -> str:
        """Of a request that ben has approved. `onto`: another commit than the request was made of."""
        repository = self.world.repository
        head = repository.write(self.base, CHANGE, message="dora's")
        ref = "refs/merge-requests/7/head" if self.forge.kind == "gitlab" else "refs/pull/7/head"
        push = ("git", f"--git-dir={repository.mirror}", "push", "--quiet", str(repository.bare), f"{head}:{ref}")
        subprocess.run(push, check=True)
        made = self.world.push(onto or self.base, {**CHANGE, **(also or {})}, by=self.forge_key, message="Merge (#7)")
        self.forge.pulls = [Pull(7, "dora-h", [head], [Given("ben-h", head)], squashed=made)]
        return made

    def fetch(self, since: str | None = None) -> VerifiedHead:
        return fetch_verified.fn(self.remote, state=self.world.state, since=since)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Squashing]:
    with reviewing(request.param) as forge:
        yield new_place(forge, server, tmp_path)


@pytest.fixture
def gitea(server: Server, tmp_path: Path) -> Iterator[Squashing]:
    with reviewing("gitea") as forge:
        yield new_place(forge, server, tmp_path)


def new_place(forge: Reviewing, server: Server, folder: Path) -> Squashing:
    world = make_world(server, folder)
    ben, forge_key = Key.make(folder / "ben"), Key.make(folder / "forge")
    text = git.read_tree(world.repository.mirror, world.root).text(layout.SIGNERS)
    value = strict_yaml.load(text, path=layout.SIGNERS).value
    assert isinstance(value, dict)
    value["signers"] += [
        {
            "name": name,
            "key": Key.make(folder / f"{name}-key").public if name == "dora" else ben.public,
            "writes": ["environments/**"],
            "approves": name == "ben",
            "accounts": [{"forge": forge.url, "name": f"{name}-h", "id": USERS[f"{name}-h"]}],
        }
        for name in ("ben", "dora")
    ]
    value["signers"].append(
        {"name": "forge", "key": forge_key.public, "machine": True, "forge": forge.url, "writes": ["environments/**"]}
    )
    base = world.push(world.root, {layout.SIGNERS: strict_yaml.dump(value).encode()}, by=world.ada)
    return Squashing(world, forge, base, forge_key, folder / "token")


def test_a_squashed_request_is_verified_by_its_reviews(place: Squashing) -> None:
    """Found through the forge by its commit; the request's own commit is fetched, and its files are compared."""
    made = place.squash()

    head = place.fetch()

    assert head.commit == made
    assert (head.new_commits[-1].signer, sorted(head.new_commits[-1].vouched)) == ("forge", ["ben"])


def test_a_forge_is_asked_once(place: Squashing) -> None:
    """What passed stays so when the forge is away or forgets the request, whatever is verified from where on."""
    made = place.squash()
    place.fetch()
    place.forge.pulls, place.forge.failing, place.forge.requests = [], 503, []

    assert place.fetch(made).commit == place.fetch(place.base).commit == place.fetch().commit == made
    assert passes(place.remote, made, state=place.world.state, since=place.base)
    assert place.forge.requests == []


def test_a_forge_that_is_away_is_waited_for(place: Squashing, no_waiting: list[float]) -> None:
    """Unknown is neither verified nor refused: the run fails, the next one asks again."""
    place.squash()
    place.forge.failing = 503
    with pytest.raises(ForgeError):
        place.fetch()
    assert not passes(place.remote, place.forge.pulls[0].squashed, state=place.world.state, since=place.base)

    place.forge.failing = 0
    assert place.fetch().new_commits


def test_what_the_forge_made_of_no_request_is_refused(gitea: Squashing) -> None:
    """Its key alone says nothing: others may have it sign what they like."""
    made = gitea.squash()
    gitea.forge.pulls = [replace(gitea.forge.pulls[0], squashed="")]

    with pytest.raises(Refused, match="knows no request") as refused:
        gitea.fetch()
    assert refused.value.rule == "squash"
    assert not Squashes(gitea.remote, gitea.world.state).kept(made)


def test_what_was_not_reviewed_is_not_kept(gitea: Squashing) -> None:
    """A review that comes later counts then."""
    made = gitea.squash()
    given, gitea.forge.pulls[0].given = gitea.forge.pulls[0].given, []
    with pytest.raises(Refused, match="nobody's review"):
        gitea.fetch()

    gitea.forge.pulls[0].given = given
    assert gitea.fetch().commit == made


def test_more_than_was_reviewed_is_refused(gitea: Squashing) -> None:
    """The forge's commit holds a file besides."""
    gitea.squash(also={f"environments/{ENVIRONMENT}/more.yaml": b"a: 1\n"})

    with pytest.raises(Refused, match="does not hold the files"):
        gitea.fetch()


def test_a_request_that_was_behind_the_branch_is_refused(gitea: Squashing) -> None:
    """What the squash holds besides was on the branch, and the reviewers saw it without."""
    between = gitea.world.push(gitea.base, {f"environments/{ENVIRONMENT}/more.yaml": b"a: 1\n"}, by=gitea.world.ada)
    gitea.squash(onto=between)

    with pytest.raises(Refused, match="had not what was on the branch"):
        gitea.fetch()


def test_a_request_whose_commit_is_not_there_is_waited_for(gitea: Squashing) -> None:
    """What the forge says was reviewed, and the git server does not give."""
    gitea.squash()
    gitea.forge.pulls[0].commits, gitea.forge.pulls[0].given = ["e" * 40], [Given("ben-h", "e" * 40)]

    with pytest.raises(GitError, match="does not have eeeeeeeeeeee"):
        gitea.fetch()


def test_a_host_that_names_no_forge_refuses_it(gitea: Squashing) -> None:
    """As the hook of a git server does, which cannot ask: another forge's is refused too."""
    made = gitea.squash()
    with pytest.raises(Refused, match="not asked for here"):
        gitea.world.fetch()
    with pytest.raises(Refused, match="not asked for here"):
        judged(git.mirror_path(gitea.world.state, "environments"), gitea.remote.root, made, since=gitea.base)

    account = gitea.forge.account(gitea.token)
    other = gitea.remote.model_copy(
        update={"reviews": account.model_copy(update={"url": f"http://localhost:{gitea.forge.port}"})}
    )
    with pytest.raises(Refused, match="and this host asks"):
        fetch_verified.fn(other, state=gitea.world.state, since=None)


def test_a_file_of_before_that_cannot_be_read_is_asked_for_anew(gitea: Squashing) -> None:
    """It is a memory of an answer and no more."""
    made = gitea.squash()
    gitea.fetch()
    file = gitea.world.state / "squashes" / f"{made}.json"
    file.write_bytes(file.read_bytes()[:-30])

    assert gitea.fetch().commit == made
    assert Squashes(gitea.remote, gitea.world.state).kept(made)
