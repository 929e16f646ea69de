"""A sync waits for health, says what is missing, and gives way to a newer commit."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from interlock.cd.objects import Body
from interlock.errors import Superseded, UnderWay, Unhealthy
from sandbox.golang import provide_binaries
from sandbox.image import MANIFEST_TYPE, blob_digest, program_image
from sandbox.parts.kubernetes import Kubernetes
from sandbox.parts.node import Node
from sandbox.parts.registry import credentials
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tests.cluster.test_outages import Meanwhile
from tests.cluster.test_release_jobs import job
from tests.cluster.worlds import Recorder, World, deployment, make_world, manifest_path, secret, service
from tests.git.conftest import Server


@pytest.fixture(scope="session")
def image(node: Node) -> str:
    """A program that sleeps, in the sandbox's registry, by digest."""
    program = provide_binaries("pause", report=lambda *_: None) / "pause"
    return _push(program.read_bytes(), place=node.place, name="sleeper")


def _push(program: bytes, *, place: Place, name: str) -> str:
    built = program_image(program)
    account, _, password = credentials(place, "ci").read_text().strip().partition(":")
    with httpx.Client(base_url=f"http://{place.registry}/v2/{name}", auth=(account, password)) as registry:
        for blob in (built.layer, built.config):
            address = httpx.URL(registry.post("/blobs/uploads/").headers["Location"])
            upload = address.copy_merge_params({"digest": blob_digest(blob)})
            registry.put(upload, content=blob).raise_for_status()
        digest = blob_digest(built.manifest)
        pushed = registry.put(f"/manifests/{digest}", content=built.manifest, headers={"Content-Type": MANIFEST_TYPE})
        pushed.raise_for_status()
    return f"{place.registry}/{name}@{digest}"


@pytest.fixture
def patient_world(cluster: Kubernetes, sandbox: Sandbox, server: Server, tmp_path: Path) -> World:
    """It waits two minutes for health."""
    return make_world(sandbox.place, server, tmp_path, health_seconds=120)


def _web(image: str, *, replicas: int = 2) -> Body:
    body = deployment(replicas=replicas, image=image)
    container = body["spec"]["template"]["spec"]["containers"][0]
    del container["readinessProbe"], container["ports"]  # it only sleeps
    return body


async def test_a_deploy_ends_when_the_containers_run(patient_world: World, image: str) -> None:
    """Real containers of the released digest; the progress says how many are healthy, and what the others lack."""
    world = patient_world
    world.push_objects("web", _web(image), service())

    presenter = Recorder()
    outcome = await world.deploy(presenter)

    assert outcome.said == "deployed"
    assert presenter.notes[-1] == "3 of 3 healthy"
    assert any("2 of 3 healthy: Deployment" in note for note in presenter.notes)
    pods = world.admin.list(world.admin.resource("v1", "Pod"), world.namespace)
    assert [pod["status"]["containerStatuses"][0]["imageID"].split("@")[1] for pod in pods] == [image.split("@")[1]] * 2


async def test_the_registry_is_away_in_the_middle_of_a_deploy(
    patient_world: World, sandbox: Sandbox, image: str
) -> None:
    """Only the node asks it. The run names image and cause; with the registry back, the next one ends well."""
    world = patient_world
    program = provide_binaries("pause", report=lambda *_: None) / "pause"
    fresh = _push(program.read_bytes(), place=sandbox.place, name="away")  # what the node has not got yet
    world.push_settings(health_seconds=40)
    world.push_objects("web", _web(fresh, replicas=1))
    try:
        with pytest.raises(Unhealthy, match=r"cannot pull \S+/away@sha256:.*connection refused"):
            await world.deploy(Meanwhile("apply applications", lambda: sandbox.kill("registry")))
        record = world.stored().record
        assert record is not None
        assert (record.deployed, record.pending) == (None, world.head)
        assert not (await world.plan()).stops
    finally:
        sandbox.revive("registry")

    world.push_settings(health_seconds=240)  # the kubelet asks again in ever longer intervals
    assert (await world.deploy()).said == "deployed"
    assert world.receipts()[-1] == ("result", "healthy")


@pytest.fixture(scope="session")
def crasher(node: Node) -> str:
    """A program that ends with what it was told in its log."""
    program = provide_binaries("registry", report=lambda *_: None) / "registry"
    return _push(program.read_bytes(), place=node.place, name="crasher")


async def test_a_crash_is_told_with_its_last_words(world: World, crasher: str) -> None:
    """Exit code and log of the real container, without what a Secret holds; CD's own Role is enough for it."""
    body = _web(crasher, replicas=1)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["serve", "/etc/$(PASSWORD)/config.yaml"]
    container["env"] = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}]
    world.push_objects("web", secret("login", {"password": "correct-horse"}), body)

    presenter = Recorder()
    with pytest.raises(Unhealthy, match="container web ended with exit code 1") as error:
        await world.deploy(presenter)

    report = presenter.report("health")
    words = "configuration error: open /etc/••••/config.yaml: no such file or directory"
    assert any(words in row[0] for table in report.tables[1:] for row in table.rows)
    assert any("its log: configuration error: open /etc/••••" in note for note in presenter.notes)
    assert "configuration error" not in error.value.message
    told = f"{error.value} {report.body} {json.dumps(report.data)} {presenter.notes}"
    assert "correct-horse" not in told


async def test_a_release_job_that_fails_is_told_with_its_last_words(world: World, crasher: str) -> None:
    """A real container's log stands on the run's page, without what a Secret holds, and the workload stays out."""
    body = job("migrate", "before")
    container = body["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": crasher, "args": ["serve", "/etc/$(PASSWORD)/config.yaml"]}
    container["env"] = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}]
    world.push_objects("web", secret("login", {"password": "correct-horse"}), body, deployment(replicas=0))

    presenter = Recorder()
    with pytest.raises(Unhealthy, match=r"migrate-[0-9a-f]{10} failed: BackoffLimitExceeded"):
        await world.deploy(presenter)

    report = presenter.report("jobs")
    assert "configuration error: open /etc/••••/config.yaml: no such file or directory" in report.body
    assert "correct-horse" not in report.body + json.dumps(report.data)
    assert world.get("Deployment", "web", "apps/v1") is None


async def test_an_image_that_does_not_come_is_named(world: World, image: str) -> None:
    """Not healthy in time: object, pod, container and reason; deployed stays, and the next commit repairs it."""
    missing = image.replace("sleeper", "nowhere")
    world.push_objects("web", _web(missing, replicas=1))

    presenter = Recorder()
    with pytest.raises(
        Unhealthy, match=r"Deployment/t\w+/web: .*container web: cannot pull .*/nowhere@sha256:\w{12}: not found"
    ):
        await world.deploy(presenter)

    assert presenter.report("health").title == "dev: 1 of 2 objects are healthy"
    record = world.stored().record
    assert record is not None
    assert (record.verified, record.deployed, record.pending) == (world.head, None, world.head)
    assert world.receipts()[-1] == ("result", "unhealthy")
    with pytest.raises(Unhealthy, match="still not healthy"):
        await world.resync()
    assert len(world.receipts()) == 2
    world.push_objects("web", _web(image, replicas=1))
    assert (await world.deploy()).said == "deployed"


async def test_a_newer_commit_ends_a_wait(patient_world: World) -> None:
    """A push during the wait ends it as superseded; one that would be refused does not."""
    world = patient_world
    first = world.push_objects("web", deployment(replicas=1, image="127.0.0.1:1/x@sha256:" + "0" * 64))
    waiting = asyncio.create_task(world.deploy())
    await _until_applied(world)
    world.force(world.repository.write(world.root, {manifest_path("evil"): b"x: 1\n"}))
    await asyncio.sleep(13)
    assert not waiting.done()
    world.force(first)
    world.push_objects("web", deployment(replicas=0))

    with pytest.raises(Superseded):
        await asyncio.wait_for(waiting, 60)

    assert (await world.deploy()).said == "deployed"


async def test_a_resync_leaves_a_wait_to_the_run_that_waits(
    patient_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a deploy waits for health, a resync neither judges the commit nor fails: it names the run that is at it."""
    world = patient_world
    monkeypatch.setattr("flows.cd.walk.UPKEEP_LOCK_SECONDS", 0.1)
    world.push_objects("web", deployment(replicas=1, image="127.0.0.1:1/x@sha256:" + "0" * 64))
    waiting = asyncio.create_task(world.deploy())
    await _until_applied(world)

    with pytest.raises(UnderWay, match=r"dev is left to the run that is at it: lock .*: held by .* since"):
        await world.resync()

    assert not waiting.done()
    world.push_objects("web", deployment(replicas=0))
    with pytest.raises(Superseded):
        await asyncio.wait_for(waiting, 60)
    assert (await world.resync()).said == "deployed"


async def _until_applied(world: World) -> None:
    for _ in range(100):
        if world.get("Deployment", "web", "apps/v1"):
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the Deployment was not applied")
