"""Releases that people merge: one branch and one pull request, on a real git server and each kind of forge."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.ci.propose import Offer, Proposed, keep_up, propose, withdraw
from flows.ci.race import fetch_environments
from interlock.ci.decided import Decided
from interlock.ci.host import CiHost, Trivy
from interlock.ci.targets import Proven, targets
from interlock.contract import evidence, layout, release
from interlock.contract.canonical import digest
from interlock.contract.host import EnvironmentRemote, Registry, RootPin, Signing
from interlock.contract.models import Source
from interlock.contract.trailers import Trailers, message, parse
from tasks.ci.decided import read_decided, standing_at, write_decided
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tests import examples_of_repositories as example
from tests.docker.recorder import Recorder
from tests.forges.server import FakeForge, Fault
from tests.git.conftest import Key, Repository, Server, make_repository

BRANCH = "interlock/shop/web/prod"
FIRST, SECOND = "5" * 40, "6" * 40
SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: door
stringData:
  code: open-sesame
"""


_RELEASED = message("Release web to dev", Trailers("shop", FIRST, "run-1", f"sha256:{'0' * 64}", "web"))


@dataclass
class World:
    repository: Repository
    root: str
    person: Key
    robot: Key
    host: CiHost
    forge: FakeForge

    def head(self) -> VerifiedHead:
        return asyncio.run(fetch_environments(Recorder(), self.host))

    def offer(self, commit: str = FIRST) -> Offer:
        head = self.head()
        image = f"{example.IMAGE_REPOSITORY}@{digest(commit.encode())}"
        bound = targets(head.repository, source="shop", signer="ci-shop")
        proof = evidence.envelope(example.statements(image, source_commit=commit))
        return Offer(
            component="web",
            image=image,
            source=Source(repository="shop", commit=commit),
            head="",
            run="run-1",
            proven=[Proven(each, proof) for each in bound if each.environment == "prod"],
            bound=bound,
            tests="12 passed, 0 failed, 1 skipped",
            findings="Nothing stops this release.",
        )

    def propose(self, commit: str = FIRST, recorder: Recorder | None = None) -> Proposed:
        return asyncio.run(propose(recorder or Recorder(), self.host, self.head(), self.offer(commit)))

    def keep_up(self) -> tuple[str, ...]:
        return asyncio.run(keep_up(Recorder(), self.host))

    def release_to_dev(self) -> str:
        """Another release of CI's, by its own commit."""
        before = git.fetch(self.repository.mirror, self.repository.remote)
        commit = self.repository.write(before, example.release_files(), by=self.robot, message=_RELEASED)
        git.push(self.repository.mirror, commit, self.repository.remote, expected=before)
        return commit

    def at(self, branch: str) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(self.repository.bare), "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or None

    def fast_forward(self) -> None:
        """What the forge's fast-forward button does, or a person by hand."""
        tip = self.at(BRANCH)
        subprocess.run(["git", "-C", str(self.repository.bare), "update-ref", "refs/heads/main", str(tip)], check=True)

    def push(self, changes: dict[str, bytes | None], message: str = "Change") -> str:
        before = git.fetch(self.repository.mirror, self.repository.remote)
        commit = self.repository.write(before, changes, by=self.person, message=message)
        git.push(self.repository.mirror, commit, self.repository.remote, expected=before)
        return commit


@pytest.fixture
def make_world(server: Server, tmp_path: Path) -> Callable[[FakeForge], World]:
    def make(forge: FakeForge) -> World:
        repository = make_repository(server, tmp_path)
        person, robot = Key.make(tmp_path / "ada"), Key.make(tmp_path / "ci")
        tree = example.environment_tree(released=False, person_key=person.public, machine_key=robot.public)
        files: dict[str, bytes | None] = {path: _with_prod(path, blob) for path, blob in tree.files.items()}
        of_dev = tree.text(layout.environment("dev"))
        prod = of_dev.replace(example.ENVIRONMENT_ID, "e0e1e2e3e4e5").replace("[shop]", "[shop-prod]")
        files[layout.environment("prod")] = f"{prod}promotion: pull-request\n".encode()
        files[layout.values("prod", "shop")] = tree.files[layout.values("dev", "shop")]
        files[f"{layout.manifests('prod', 'shop')}/door.yaml"] = SECRET.encode()
        root = repository.write(None, files, by=person)
        git.push(repository.mirror, root, repository.remote, expected=None)
        remote = repository.as_role("ci")
        (tmp_path / "state").mkdir()
        host = CiHost(
            format=1,
            prefect="http://127.0.0.1:1/api",
            prefect_ui="https://prefect.example",
            state=tmp_path / "state",
            environment_repository=EnvironmentRemote(
                name="environments",
                url=remote.url,
                auth=remote.auth,
                root=RootPin(commit=root, keys=(person.public,)),
            ),
            registry=Registry(host="registry.example"),
            signing=Signing(signer="ci-shop", key=robot.path),
            trivy=Trivy(cache=tmp_path),
            forges={"environments": forge.account(tmp_path / "token")},
        )
        world = World(repository, root, person, robot, host, forge)
        forge.head = world.at
        return world

    return make


@pytest.fixture
def world(make_world: Callable[[FakeForge], World], new_forge: Callable[[str], FakeForge]) -> World:
    """With the forge that most people know."""
    return make_world(new_forge("github"))


def _with_prod(path: str, blob: bytes) -> bytes:
    if path == layout.SIGNERS:
        return blob.replace(b"environments/dev/shop/", b"environments/*/shop/")
    return blob.replace(b"[dev]", b"[dev, prod]") if path == layout.BINDINGS else blob


def test_a_branch_and_a_pull_request(make_world: Callable[[FakeForge], World], forge: FakeForge) -> None:
    """CI's signed commit of release and evidence alone, on top of the branch; the text says what it changes."""
    world = make_world(forge)
    proposed = world.propose()

    assert world.at("main") == world.root and world.at(BRANCH) == proposed.commit
    (raw,) = git.read_commits(world.repository.mirror, None, world.root) and git.read_commits(
        git.mirror_path(world.host.state, "environments"), world.root, proposed.commit
    )
    image_digest = world.offer().image.partition("@")[2]
    assert {each.path for each in raw.changes} == {
        layout.release("prod", "shop"),
        layout.evidence("prod", "shop", "web", image_digest),
    }
    assert (found := parse(raw.data.decode().partition("\n\n")[2])) and found.source_commit == FIRST
    (pull,) = forge.pulls
    assert (pull.branch, pull.base, pull.state) == (BRANCH, "main", "open")
    assert pull.title == f"Release web {FIRST[:12]} to prod"
    assert proposed.url.endswith(f"/{pull.number}")
    for part in (
        "12 passed, 0 failed, 1 skipped",
        "Nothing stops this release.",
        "https://prefect.example/runs/flow-run/run-1",
        f"git push origin origin/{BRANCH}:main",
        "+++ Deployment.apps shop-prod/",
        f"+          image: {world.offer().image}",
    ):
        assert part in pull.body.replace("\r", ""), part
    assert "open-sesame" not in pull.body


def test_merged_by_fast_forward_it_is_released(world: World) -> None:
    """CD's rules accept what people merged; nothing is left to propose, and a newer release opens another."""
    first = world.propose()
    world.fast_forward()
    world.forge.pulls[0].state = "merged"

    head = world.head()
    assert head.commit == first.commit and head.new_commits[-1].signer == "ci-shop"
    other = fetch_verified.fn(world.host.environment_repository, state=world.host.state / "cd", since=None)
    entry = other.repository.environments["prod"].applications["shop"].release
    assert entry is not None and entry.components["web"].source.commit == FIRST

    second = world.propose(SECOND)
    assert [each.state for each in world.forge.pulls] == ["merged", "open"]
    assert git.is_ancestor(git.mirror_path(world.host.state, "environments"), first.commit, second.commit)
    body = world.forge.pulls[1].body
    assert (
        f"-          image: {world.offer(FIRST).image}" in body
        and f"+          image: {world.offer(SECOND).image}" in body
    )


def test_a_newer_release_updates_it(make_world: Callable[[FakeForge], World], forge: FakeForge) -> None:
    """One pull request, whatever many releases: the newest commit alone on the branch, the newest text."""
    world = make_world(forge)
    world.propose(FIRST)
    second = world.propose(SECOND)

    (pull,) = forge.pulls
    assert pull.title == f"Release web {SECOND[:12]} to prod" and SECOND in pull.body and FIRST not in pull.body
    mirror = git.mirror_path(world.host.state, "environments")
    assert [each.id for each in git.read_commits(mirror, world.root, second.commit)] == [second.commit]


def test_the_same_release_changes_nothing(world: World) -> None:
    """Neither commit nor pull request is made twice."""
    first = world.propose()
    again = world.propose()

    assert again == first and len(world.forge.pulls) == 1
    assert not [each for each in world.forge.requests if each.startswith("PATCH")]


def test_killed_between_push_and_opening(world: World, no_waiting: list[float]) -> None:
    """The next run keeps the commit that is there, and opens what is missing."""
    world.forge.faults = [Fault(503)] * 4
    recorder = Recorder()
    first = world.propose(recorder=recorder)
    assert first.url == "" and world.forge.pulls == []
    assert recorder.report("pull-request").title.startswith("No pull request: Release web")
    assert BRANCH in recorder.report("pull-request").markdown

    again = world.propose()
    assert again.commit == first.commit and len(world.forge.pulls) == 1


def test_an_answer_that_is_lost_opens_no_second_one(world: World, no_waiting: list[float]) -> None:
    """The forge did it, and the connection broke: the one that is there is found."""
    world.forge.faults = [Fault(502, done=True, only="POST")]

    proposed = world.propose()

    assert len(world.forge.pulls) == 1 and proposed.url.endswith(f"/{world.forge.pulls[0].number}")


def test_closed_by_people_it_stays_closed(make_world: Callable[[FakeForge], World], forge: FakeForge) -> None:
    """Nobody is asked again for that commit; a newer release opens a new one."""
    world = make_world(forge)
    world.propose()
    forge.pulls[0].state = "closed"

    recorder = Recorder()
    world.propose(recorder=recorder)
    assert [each.state for each in forge.pulls] == ["closed"]
    assert any("was closed by people: they are not asked again" in each for each in recorder.said)

    world.propose(SECOND)
    assert [each.state for each in forge.pulls] == ["closed", "open"]


def test_squashed_by_a_person(world: World) -> None:
    """A signed commit of a person with the same content is a release too; the next one begins at it."""
    first = world.propose()
    mirror = git.mirror_path(world.host.state, "environments")
    (raw,) = git.read_commits(mirror, world.root, first.commit)
    blobs = git.read_blobs(mirror, [each.new_blob for each in raw.changes])
    squashed = world.push({each.path: blobs[each.new_blob] for each in raw.changes}, "Squash")
    world.forge.pulls[0].state = "merged"

    second = world.propose(SECOND)

    assert git.read_commits(mirror, squashed, second.commit)[0].id == second.commit
    assert [(each.state, each.title.split()[2]) for each in world.forge.pulls] == [
        ("merged", FIRST[:12]),
        ("open", SECOND[:12]),
    ]


def test_a_branch_that_main_has_left_behind_is_made_anew(world: World) -> None:
    """After somebody else's commit the same release lies on top of it, so that it can be merged."""
    world.propose()
    moved = world.push({layout.values("dev", "shop"): b"replicas: 2\n"})

    again = world.propose()

    mirror = git.mirror_path(world.host.state, "environments")
    assert [each.id for each in git.read_commits(mirror, moved, again.commit)] == [again.commit]
    assert len(world.forge.pulls) == 1


def test_what_the_gate_refuses_today_is_withdrawn(make_world: Callable[[FakeForge], World], forge: FakeForge) -> None:
    """With its reasons; another commit's pull request stays, and a new one is opened once the gate opens."""
    world = make_world(forge)
    world.propose()

    def refuse(commit: str) -> None:
        reasons = ("image: HIGH CVE-1 in p 1",)
        asyncio.run(withdraw(Recorder(), world.host, branch=BRANCH, commit=commit, reasons=reasons))

    refuse(SECOND)
    assert [each.state for each in forge.pulls] == ["open"]
    refuse(FIRST)
    (pull,) = forge.pulls
    assert pull.state == "closed" and pull.title.startswith("Withdrawn: ") and "HIGH CVE-1 in p 1" in pull.body
    refuse(FIRST)

    world.propose()
    assert [each.state for each in forge.pulls] == ["closed", "open"]


def test_a_poll_keeps_it_mergeable(world: World) -> None:
    """After another release the same content lies on top of it, without a run; then there is nothing to do."""
    first = world.propose()
    moved = world.release_to_dev()

    assert world.keep_up() == (BRANCH,)

    tip, mirror = world.at(BRANCH), git.mirror_path(world.host.state, "environments")
    assert tip is not None and tip != first.commit
    (raw,) = git.read_commits(mirror, moved, tip)
    (old,) = git.read_commits(mirror, world.root, first.commit)
    assert [(each.path, each.new_blob) for each in raw.changes] == [(each.path, each.new_blob) for each in old.changes]
    assert parse(raw.data.decode().partition("\n\n")[2]) == parse(old.data.decode().partition("\n\n")[2])
    assert world.keep_up() == () and world.at(BRANCH) == tip
    world.fast_forward()
    assert world.keep_up() == () and world.at(BRANCH) is None, "a merged branch is taken away"
    assert world.head().commit == tip and world.keep_up() == ()


def test_a_server_that_keeps_branches_is_no_trouble(world: World) -> None:
    """It says no, and the poll goes on."""
    world.propose()
    world.fast_forward()
    subprocess.run(["git", "-C", str(world.repository.bare), "config", "receive.denyDeletes", "true"], check=True)

    recorder = Recorder()
    assert asyncio.run(keep_up(recorder, world.host)) == ()
    assert world.at(BRANCH) == world.at("main") and any("removal of" in each for each in recorder.said)


def test_a_new_policy_has_it_judged_again(world: World) -> None:
    """By a run, which polling starts; once it has said no, nobody starts it again."""
    first = world.propose()
    write_decided(world.host.state, "shop", Decided(FIRST))
    moved = world.push({layout.GATE: b"format: 1\nrules: {unfixed: true}\n"})

    assert world.keep_up() == ()
    assert world.at(BRANCH) == first.commit and read_decided(world.host.state, "shop") is None

    world.head()
    now = standing_at(git.mirror_path(world.host.state, "environments"), moved)
    write_decided(world.host.state, "shop", Decided(FIRST, policy=now.policy))
    assert world.keep_up() == ()
    assert read_decided(world.host.state, "shop") is not None


def test_what_people_released_otherwise_is_not_overwritten(world: World) -> None:
    """A branch that proposes something else than what is there since is left to a run."""
    first = world.propose()
    other = example.release_files(source_commit="9" * 40)
    world.push({path.replace("/dev/", "/prod/"): blob for path, blob in other.items()}, "Release by hand")

    assert world.keep_up() == () and world.at(BRANCH) == first.commit


def test_strangers_branches_are_left_alone(world: World) -> None:
    """One under our name that somebody else has signed, or that is no release."""
    stranger = world.repository.write(world.root, {layout.values("prod", "shop"): b"replicas: 9\n"}, by=world.person)
    remote = world.repository.remote.model_copy(update={"branch": "interlock/mine"})
    git.push(world.repository.mirror, stranger, remote, expected=None)
    released = world.release_to_dev()
    merged = world.repository.remote.model_copy(update={"branch": "interlock/shop/api/prod"})
    git.push(world.repository.mirror, released, merged, expected=None)
    world.head()

    assert world.keep_up() == () and world.at("interlock/mine") == stranger
    assert world.at(merged.branch) == released


def test_what_strangers_write_on_the_branch_is_not_kept(world: World) -> None:
    """Whoever may push there cannot slip something under CI's pull request for longer than to the next run."""
    first = world.propose()
    stranger = world.repository.write(
        world.root, {layout.release("prod", "shop"): b"format: 1\n"}, by=Key.make(world.host.state / "eve")
    )
    remote = world.repository.remote.model_copy(update={"branch": BRANCH})
    git.push(world.repository.mirror, stranger, remote, expected=first.commit, rewrite=True)

    again = world.propose()

    assert world.at(BRANCH) == again.commit != stranger
    mirror = git.mirror_path(world.host.state, "environments")
    texts = git.read_blobs(mirror, [f"{again.commit}:{layout.release('prod', 'shop')}"])
    assert release.read(next(iter(texts.values())).decode()).components["web"].source.commit == FIRST


def test_without_a_forge_the_branch_is_told(world: World) -> None:
    """People merge by hand."""
    world.host = world.host.model_copy(update={"forges": {}})
    recorder = Recorder()
    proposed = world.propose(recorder=recorder)

    assert world.at(BRANCH) == proposed.commit and proposed.url == ""
    assert "no forge is named" in recorder.report("pull-request").markdown
