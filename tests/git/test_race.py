"""Many writers of one environment repository at the same moment, on a real git server: nobody's release is lost."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import pytest

from flows.ci.race import fetch_environments, in_turn
from interlock.ci.host import CiHost, Trivy
from interlock.ci.targets import Proven, changes, targets
from interlock.contract import evidence, layout, release
from interlock.contract.canonical import digest
from interlock.contract.host import EnvironmentRemote, Registry, RootPin, Signing
from interlock.contract.models import Source
from interlock.contract.trailers import Trailers, parse
from interlock.errors import PushRejected
from tasks.ci.queue import queued
from tasks.ci.release_commit import push_release
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tests import examples_of_repositories as example
from tests.docker.recorder import Recorder
from tests.git.conftest import Key, Repository, Server, make_repository

HOSTS = int(os.environ.get("INTERLOCK_TEST_HOSTS", "8"))
"""CI hosts that share nothing but the server. Fifty take minutes on two cores: docs/releases.md has the figures."""
RUNS = 50
"""Writers of one host."""


@dataclass(frozen=True)
class World:
    repository: Repository
    root: str
    person: Key
    robot: Key

    @classmethod
    def make(cls, server: Server, folder: Path, *, components: int) -> World:
        """An application with many components, none of them released; one CI key may release all of them."""
        repository = make_repository(server, folder)
        person, robot = Key.make(folder / "ada"), Key.make(folder / "ci")
        tree = example.environment_tree(released=False, person_key=person.public, machine_key=robot.public)
        one = tree.text(layout.BINDINGS).partition("bindings:\n")[2]
        bound = "".join(
            one.replace(f"component: {example.COMPONENT}", f"component: {_component(number)}")
            for number in range(components)
        )
        files: dict[str, bytes | None] = {**tree.files, layout.BINDINGS: f"format: 1\nbindings:\n{bound}".encode()}
        root = repository.write(None, files, by=person)
        git.push(repository.mirror, root, repository.remote, expected=None)
        return cls(repository, root, person, robot)

    def host(self, state: Path) -> CiHost:
        state.mkdir(exist_ok=True)
        remote = self.repository.as_role("ci")
        return CiHost(
            format=1,
            prefect="http://127.0.0.1:1/api",
            state=state,
            environment_repository=EnvironmentRemote(
                name="environments",
                url=remote.url,
                auth=remote.auth,
                root=RootPin(commit=self.root, keys=(self.person.public,)),
            ),
            registry=Registry(host="registry.example"),
            signing=Signing(signer="ci-shop", key=self.robot.path),
            trivy=Trivy(cache=state),
        )


@dataclass(frozen=True)
class Written:
    """What became of one writer."""

    commit: str
    attempts: int
    seconds: float


def _component(number: int) -> str:
    return f"part{number:02d}"


def _image(component: str) -> str:
    return f"{example.IMAGE_REPOSITORY}@{digest(component.encode())}"


async def _release(host: CiHost, component: str, together: Barrier) -> Written:
    """One release commit, as a run of CI makes it once the gate let it pass."""
    recorder = Recorder()
    desired = await fetch_environments(recorder, host)
    image, source = _image(component), Source(repository=example.SOURCE_REPOSITORY, commit=example.SOURCE_COMMIT)
    proof = evidence.envelope(example.statements(image, component=component))

    async def attempt(head: VerifiedHead) -> str:
        bound = targets(head.repository, source=source.repository, signer="ci-shop")
        proven = [Proven(each, proof) for each in bound if each.component == component]
        return await recorder.step(
            push_release,
            host,
            signing=host.signing,
            parent=head.commit,
            changes=changes(head.tree, proven, image=image, source=source),
            subject=f"Release {component}",
            trailers=Trailers(source.repository, source.commit, "run-1", digest(proof), component),
        )

    await asyncio.to_thread(together.wait)
    began = time.monotonic()
    commit = await in_turn(recorder, host, desired, attempt, what=component)
    return Written(commit, recorder.steps.count("push release commit"), time.monotonic() - began)


def _race(hosts: Sequence[CiHost]) -> tuple[Written, ...]:
    """One writer for each entry, all at the same moment."""
    together = Barrier(len(hosts))
    with ThreadPoolExecutor(len(hosts)) as pool:
        running = [
            pool.submit(asyncio.run, _release(host, _component(number), together)) for number, host in enumerate(hosts)
        ]
        return tuple(each.result() for each in running)


def _tell(title: str, written: Sequence[Written]) -> None:
    attempts, seconds = [each.attempts for each in written], [each.seconds for each in written]
    print(  # noqa: T201 - it is what one runs this with `-s` for
        f"\n{title}: {len(written)} writers; attempts: median {statistics.median(attempts):.0f}, most {max(attempts)}, "
        f"in all {sum(attempts)}; seconds: median {statistics.median(seconds):.1f}, longest {max(seconds):.1f}"
    )


def _require_all(world: World, host: CiHost, written: Sequence[Written]) -> None:
    """Every release stands at the head, in a commit of its own that changes its own files and nothing else."""
    head = fetch_verified.fn(host.environment_repository, state=host.state, since=None)
    names = {_component(number) for number in range(len(written))}
    entries = release.read(head.tree.text(layout.release("dev", "shop"))).components
    assert {name: each.image for name, each in entries.items()} == {name: _image(name) for name in names}
    made = head.new_commits[1:]
    assert {each.commit for each in made} == {each.commit for each in written} and len(made) == len(written)
    messages = {raw.id: raw.data.decode() for raw in git.read_commits(world.repository.mirror, world.root, head.commit)}
    for each in made:
        found = parse(messages[each.commit].partition("\n\n")[2])
        assert each.signer == "ci-shop" and found is not None
        own = layout.evidence("dev", "shop", found.component, _image(found.component).partition("@")[2])
        assert set(each.paths) == {layout.release("dev", "shop"), own}
        assert digest(head.tree.files[own]) == entries[found.component].evidence == found.evidence_digest


def test_runs_of_one_host_queue(server: Server, tmp_path: Path) -> None:
    """Fifty runs of one host get through in the order of their coming, with two attempts each at the most."""
    world = World.make(server, tmp_path, components=RUNS)
    host = world.host(tmp_path / "state")

    written = _race([host] * RUNS)

    _tell("one host", written)
    git.fetch(world.repository.mirror, world.repository.remote)
    _require_all(world, host, written)
    assert max(each.attempts for each in written) <= 2


def test_hosts_race(server: Server, tmp_path: Path) -> None:
    """Hosts that know nothing of each other lose no update, and none of them is left behind."""
    world = World.make(server, tmp_path, components=HOSTS)
    hosts = [world.host(tmp_path / f"state{number}") for number in range(HOSTS)]

    written = _race(hosts)

    _tell("separate hosts", written)
    git.fetch(world.repository.mirror, world.repository.remote)
    _require_all(world, hosts[0], written)
    assert max(each.attempts for each in written) <= HOSTS  # whoever loses has lost to somebody who is done


def test_a_stuck_race_ends(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose patience is over ends with an error that says what to do."""
    world = World.make(server, tmp_path, components=1)
    host = world.host(tmp_path / "state")
    monkeypatch.setattr("interlock.ci.race.PATIENCE_SECONDS", 0.2)

    async def attempt(head: VerifiedHead) -> str:
        raise PushRejected("main is no longer at 1234")

    async def run() -> str:
        recorder = Recorder()
        desired = await fetch_environments(recorder, host)
        return await in_turn(recorder, host, desired, attempt, what="the release of web")

    with pytest.raises(PushRejected, match=r"the release of web lost \d+ races") as caught:
        asyncio.run(run())
    assert caught.value.transient and "start it again" in caught.value.hint


def test_the_dead_leave_the_queue(tmp_path: Path) -> None:
    """A writer that is killed while it stands in the queue, or holds its head, keeps nobody waiting."""
    program = "import sys,time,pathlib;from tasks.ci.queue import queued\nwith queued(pathlib.Path(sys.argv[1])):\n"
    program += " print('in', flush=True); time.sleep(60)"
    with subprocess.Popen(["python", "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "in\n"
        with queued(tmp_path) as ours:
            assert not ours()
            process.kill()
            process.wait()
            assert ours()
            with queued(tmp_path) as theirs:
                assert not theirs()
                assert ours()
    with queued(tmp_path) as ours:
        assert ours()
