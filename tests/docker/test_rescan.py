"""Rescan on real git, registry, Docker and Trivy: a release with yesterday's database, judged with today's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from flows.ci.release import release_order
from flows.ci.rescan import RescanOutcome, rescan_order
from interlock.ci.host import CiHost, Trivy
from interlock.contract import evidence, layout, repository
from interlock.contract.evidence import Evidence
from interlock.contract.finding import Scan
from interlock.contract.host import Registry
from interlock.errors import Blocked, RegistryError, ScanFailed
from sandbox.trivy_database import ADVISORIES, write_database
from tasks.ci import referrers, scanner
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.forges.conftest import serving
from tests.forges.server import Fault

NEWS = "CVE-2020-14343"
METADATA = "Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3\n"
NO_WAIVERS = b"format: 1\nwaivers: []\n"
WAIVED = f"""\
format: 1
waivers:
  - {{finding: {NEWS}, component: web, reason: reads no YAML from outside, owner: ada, ends: "2099-01-01"}}
"""


@dataclass(frozen=True)
class World:
    """A release, and the host as it was when it was made and as it is since the advisory came out."""

    walk: Walk
    yesterday: CiHost
    today: CiHost
    image: str

    @property
    def mark(self) -> str:
        return layout.rescan("dev", "shop", "web", self.image.partition("@")[2])

    def verified(self) -> VerifiedHead:
        return fetch_verified.fn(self.walk.host.environment_repository, state=self.walk.host.state, since=None)


@pytest.fixture(scope="module")
def world(shared_walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> World:
    """An image with PyYAML 5.3 in it, released before anybody knew that it can be attacked."""
    folder = tmp_path_factory.mktemp("databases")
    write_database(folder / "yesterday", advisories=[each for each in ADVISORIES if each.id != NEWS])
    write_database(folder / "today")
    hosts = {
        name: shared_walk.host.model_copy(update={"trivy": Trivy(cache=folder / name, database="pinned")})
        for name in ("yesterday", "today")
    }
    installed = "usr/lib/python3/dist-packages/PyYAML-5.3.dist-info/METADATA"
    dockerfile = service.DOCKERFILE.replace("WORKDIR", f"COPY METADATA /{installed}\nWORKDIR")
    shared_walk.application.push(service.files({"Dockerfile": dockerfile, "METADATA": METADATA}), "Parse YAML")
    outcome = asyncio.run(release_order(Recorder(), hosts["yesterday"], "shop", None))
    return World(shared_walk, hosts["yesterday"], hosts["today"], outcome.components[0].image)


def rescan(host: CiHost, recorder: Recorder | None = None) -> RescanOutcome:
    return asyncio.run(rescan_order(recorder or Recorder(), host))


def test_the_life_of_a_release(world: World) -> None:
    """Clean while nobody knows; marked by one signed commit when it is known; told once; clean again by a waiver."""
    before = world.walk.environments.count()
    assert str(rescan(world.yesterday)) == "judged 1 release again: clean"
    assert world.walk.environments.count() == before

    recorder = Recorder()
    with pytest.raises(Blocked) as caught:
        rescan(world.today, recorder)
    head = world.verified()
    proof = evidence.read_envelope(head.tree.files[world.mark], path=world.mark)
    (verdict,) = proof.predicates(evidence.GATE_VERDICT)

    assert caught.value.message.startswith("not clean any more: shop/web in dev")
    assert (head.new_commits[-1].signer, head.new_commits[-1].paths) == ("ci-shop", (world.mark,))
    assert head.new_commits[-1].subject.endswith("as no longer clean in dev")
    assert verdict["blocking"] == [f"{NEWS}@PyYAML"]
    assert recorder.report("rescan").title == "1 release judged again: 1 NOT CLEAN"
    assert not {"build image", "export image", "push image"} & set(recorder.steps)
    assert repository.read(head.tree).environments["dev"].applications["shop"].release is not None

    with pytest.raises(Blocked):
        rescan(world.today)
    assert world.walk.environments.count() == before + 1

    world.walk.environments.push({layout.WAIVERS: WAIVED.encode()}, "Waive")
    assert rescan(world.today).commits != ()
    assert rescan(world.today).commits == ()
    assert world.verified().new_commits[-1].subject.endswith("again: clean in dev")


def test_an_issue_is_open_while_it_is_not_clean(world: World, tmp_path: Path) -> None:
    """Opened with what is to be raised, closed once nothing blocks; a forge that says no changes nothing."""
    with serving("gitea") as forge:
        accounts = {"environments": forge.account(tmp_path / "token")}
        today = world.today.model_copy(update={"forges": accounts})
        world.walk.environments.push({layout.WAIVERS: NO_WAIVERS}, "Waive no more")
        recorder = Recorder()
        with pytest.raises(Blocked, match="shop/web in dev"):
            rescan(today, recorder)
        (issue,) = forge.issues
        assert (issue.title, issue.state) == ("shop/web is no longer clean in dev", "open")
        assert f"| {NEWS} | CRITICAL | PyYAML 5.3 | 5.4 |" in issue.body
        assert any(each.endswith(f"/issues/{issue.number}") for each in recorder.links)

        forge.faults = [Fault(403)]
        with pytest.raises(Blocked, match="shop/web in dev"):
            rescan(today, recorder)
        assert recorder.report("forge").title == "The forge was not told what is no longer clean"

        world.walk.environments.push({layout.WAIVERS: WAIVED.encode()}, "Waive")
        rescan(today)
        assert [each.state for each in forge.issues] == ["closed"]


def test_a_race_is_judged_again(world: World) -> None:
    """People who push while a rescan judges lose nothing, and their policy counts."""
    world.walk.environments.push({layout.WAIVERS: NO_WAIVERS}, "Waive no more")
    waive = partial(world.walk.environments.push, {layout.WAIVERS: WAIVED.encode()}, "Waive again")
    recorder = Recorder(before={"push release commit": waive})

    outcome = rescan(world.today, recorder)

    assert (outcome.commits, recorder.steps.count("push release commit")) == ((), 1)
    assert world.verified().new_commits[-1].subject == "Waive again"


def test_without_a_bill_of_materials_the_image_is_scanned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says the same; the run tells why it took longer."""

    def gone(registry: Registry, proof: Evidence, *, media_type: str = "") -> bytes:
        raise RegistryError(f"{registry.host}: the bill of materials of {proof.image[:9]} is gone")

    monkeypatch.setattr(referrers, "fetch_sbom", replace(referrers.fetch_sbom, fn=gone))
    world.walk.environments.push({layout.WAIVERS: NO_WAIVERS}, "Waive no more")
    recorder = Recorder()

    with pytest.raises(Blocked, match=NEWS):
        rescan(world.today, recorder)

    assert "scan image" in recorder.steps
    assert any("is gone; scanning the image itself" in each for each in recorder.said)


def test_a_scanner_that_fails_says_neither(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, and the run does not end as clean."""

    def crashed(*_: object, **__: object) -> Scan:
        raise ScanFailed("trivy was stopped after 600 s")

    monkeypatch.setattr(scanner, "scan_contents", replace(scanner.scan_contents, fn=crashed))
    before = world.walk.environments.count()

    with pytest.raises(ScanFailed, match="not judged again: shop/web in dev"):
        rescan(world.today)
    assert world.walk.environments.count() == before
