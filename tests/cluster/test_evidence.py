"""CD asks for proof of every image before it writes anything, on a real API server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from copy import deepcopy

import pytest
import yaml

from interlock.contract import layout, strict_yaml
from interlock.contract.models import GateRules
from interlock.errors import Refused
from tasks.cd import proofs
from tests import examples_of_evidence as proof
from tests import examples_of_repositories as example
from tests.cluster.released import OTHER_IMAGE, POSTGRES, asking, push_by_ci, release_only, released
from tests.cluster.worlds import Recorder, World, deployment, manifest_path
from tests.examples_of_evidence import CRITICAL, OTHER_KEY, scans


async def refused(world: World, files: Mapping[str, str | None]) -> Refused:
    """What a deploy says to these; nothing of them is written, and nothing new is recorded."""
    before = world.stored().record
    world.push(files)
    with pytest.raises(Refused) as caught:
        await world.deploy()
    assert caught.value.rule == "evidence"
    assert world.stored().record == before
    return caught.value


async def test_a_release_with_whole_evidence_is_deployed(world: World) -> None:
    """The run's page says of each image what vouches for it; a run that changes nothing says no more of it."""
    world.push({**asking(world), **released()})
    first, second = Recorder(), Recorder()

    assert (await world.deploy(first)).said == "deployed"
    await world.resync(second)

    assert "verify evidence" in first.steps
    report = first.report("evidence")
    assert report.title == "Images of dev: 1 image, all proven"
    assert report.tables[0].rows[0][2:] == (f"release of shop/web, shop {'5' * 12}", "holds")
    assert "evidence" not in {each.key for each in second.reports}


async def test_evidence_by_another_key_is_refused_before_anything_is_written(world: World) -> None:
    """The plan says so too; the environment is kept as it was, and goes on with the next good commit."""
    world.push({**asking(world), **released()})
    await world.deploy()

    error = await refused(world, released(OTHER_IMAGE, key=OTHER_KEY))
    with pytest.raises(Refused, match="signature"):
        await world.plan()
    found = world.get("Deployment", "web", "apps/v1")

    assert "not signed by a key that trust/attesters.yaml gives shop" in error.message
    assert f"{OTHER_IMAGE} (Deployment/{world.namespace}/web, spec.template.spec.containers[0].image)" in error.message
    assert found is not None
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == example.IMAGE
    world.push(released(OTHER_IMAGE))
    assert (await world.deploy()).said == "deployed"


@pytest.mark.parametrize("where", ["initContainers", "volumes"])
async def test_an_image_that_nobody_released_is_refused_wherever_it_stands(world: World, where: str) -> None:
    """In an init container and in an image volume; a pin of its digest lets it pass."""
    body = deployment()
    spec = body["spec"]["template"]["spec"]
    init = {**deepcopy(spec["containers"][0]), "name": "init", "image": POSTGRES}
    del init["readinessProbe"]
    volume = {"name": "data", "image": {"reference": POSTGRES}}
    spec[where] = [init if where == "initContainers" else volume]
    files = {**asking(world), **released(), manifest_path("web"): yaml.safe_dump(body)}

    error = await refused(world, files)

    assert f"spec.template.spec.{where}[0].image" in error.message
    pin = {"image": "docker.io/library/*", "digests": [POSTGRES.partition("@")[2]], "reason": "its maker is trusted"}
    world.push({layout.IMAGES: strict_yaml.dump({"format": 1, "third_party": [pin]})})
    assert (await world.deploy()).said == "deployed"


async def test_what_runs_already_is_degraded_and_never_held_back_by_age(world: World) -> None:
    """A rescan's mark keeps a new digest out; of the one that runs, scaling and undo go on, and the run says so.

    Also when this host has lost what it remembers.
    """
    world.push({**asking(world), **released()})
    await world.deploy()
    marked = {path: data.decode() for path, data in proof.rescanned(CRITICAL, now=dt.datetime.now(dt.UTC)).items()}
    world.push(
        {
            **marked,
            manifest_path("web"): yaml.safe_dump({**deployment(), "metadata": {"name": "web", "labels": {"a": "b"}}}),
        }
    )
    for file in (world.host.state / "evidence").iterdir():
        file.unlink()
    recorder = Recorder()

    outcome = await world.deploy(recorder)

    assert outcome.said == "deployed"
    assert "1 degraded proof" in outcome.note
    assert "CVE-1" in recorder.report("evidence").tables[0].rows[0][3]
    world.merge(world.path("deployments", "web", "apps/v1"), {"metadata": {"labels": {"a": "c"}}})
    assert (await world.resync()).said == "drift undone"
    lenient = GateRules(vulnerabilities=())
    error = await refused(world, released(OTHER_IMAGE, found=scans(CRITICAL), rules=lenient))
    assert "the gate says no: image: CRITICAL CVE-1" in error.message
    world.push(released())
    assert (await world.deploy()).said in {"deployed", "in sync"}


async def test_no_commit_takes_away_the_declaration_that_judges_it(world: World) -> None:
    """Removed together with a release that nobody signed, it still counts."""
    world.push({**asking(world), **released()})
    await world.deploy()

    error = await refused(world, {layout.ATTESTERS: None, **released(OTHER_IMAGE, key=None)})

    assert "signature" in error.message


async def test_a_host_may_require_evidence_whatever_the_repository_says(world: World) -> None:
    """Without a declaration nothing is deployed there, and the error says what to add."""
    world.config.write_text(world.config.read_text() + "evidence: required\n")

    error = await refused(world, {manifest_path("web"): yaml.safe_dump(deployment())})

    assert "trust/attesters.yaml is missing" in error.message
    assert "docs/evidence.md" in error.hint


async def test_a_killed_run_leaves_no_digest_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed counts as known also where the run died before it had noted so."""
    monkeypatch.setattr(proofs, "note_deployed", lambda *_: None)
    world.push({**asking(world), **released()})
    await world.deploy()
    monkeypatch.undo()
    marked = {path: data.decode() for path, data in proof.rescanned(CRITICAL, now=dt.datetime.now(dt.UTC)).items()}
    world.push(marked)

    assert "1 degraded proof" in (await world.deploy()).note


async def test_ci_does_not_go_back_by_itself_and_people_may(world: World) -> None:
    """An earlier release whose evidence holds is refused from CI's key; a person's commit brings it back."""
    now = dt.datetime.now(dt.UTC)
    earlier = released(now=now - dt.timedelta(hours=2))
    world.push({**asking(world), **earlier})
    await world.deploy()
    world.push({manifest_path("web"): yaml.safe_dump(deployment(image=OTHER_IMAGE)), **released(OTHER_IMAGE, now=now)})
    await world.deploy()
    files = release_only(earlier)
    good = world.head

    push_by_ci(world, {path: files[path] for path in files if path.endswith("release.yaml")})
    world.push({manifest_path("web"): yaml.safe_dump(deployment())})
    with pytest.raises(Refused, match="release: ci-shop went back to what was judged at"):
        await world.deploy()
    world.force(good)
    world.head = good
    world.push(earlier)

    assert (await world.deploy()).said == "deployed"


async def test_ci_does_not_go_back_behind_what_was_never_deployed(world: World) -> None:
    """Newer than what is deployed and older than what CI has released since is backwards too."""
    now, third = dt.datetime.now(dt.UTC), OTHER_IMAGE.replace("2b", "3c")
    world.push({**asking(world), **released(now=now - dt.timedelta(hours=3))})
    await world.deploy()
    between = released(OTHER_IMAGE, now=now - dt.timedelta(hours=2))
    push_by_ci(world, release_only(released(third, now=now)))
    push_by_ci(world, release_only(between))
    world.push({manifest_path("web"): between[manifest_path("web")]})

    with pytest.raises(Refused, match="release: ci-shop went back to what was judged at"):
        await world.deploy()


async def test_what_ran_once_is_new_again_when_ci_brings_it_back(world: World) -> None:
    """An image that was marked since is refused from CI's key, fresh evidence or not; a person may bring it."""
    now = dt.datetime.now(dt.UTC)
    world.push({**asking(world), **released(now=now - dt.timedelta(hours=2))})
    await world.deploy()
    world.push(released(OTHER_IMAGE, now=now - dt.timedelta(hours=1)))
    await world.deploy()
    good, fresh = world.head, released()
    marked = {path: data.decode() for path, data in proof.rescanned(CRITICAL, now=now).items()}

    push_by_ci(world, release_only(fresh))
    error = await refused(world, {**marked, manifest_path("web"): fresh[manifest_path("web")]})
    world.force(good)
    world.head = good
    world.push({**fresh, **marked})

    assert "the gate says no: image: CRITICAL CVE-1" in error.message
    assert "1 degraded proof" in (await world.deploy()).note


async def test_a_registry_that_is_down_keeps_out_what_is_new_and_nothing_else(world: World) -> None:
    """Unknown is not absent: what was deployed before is scaled and undone as ever, and comes back by a commit."""
    world.push({**asking(world), **released()})
    await world.deploy()
    away = "registries: [{host: registry.example, insecure: true}]\n"
    world.config.write_text(world.config.read_text() + away)
    good = world.head

    error = await refused(world, released(OTHER_IMAGE))
    world.force(good)
    world.head = good
    world.push(
        {manifest_path("web"): yaml.safe_dump({**deployment(), "metadata": {"name": "web", "labels": {"a": "b"}}})}
    )

    assert "digest: it is not known whether the registry has it" in error.message
    assert (await world.deploy()).said == "deployed"
