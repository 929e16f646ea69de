"""Jobs around a release: once for each, before its workloads, when it is healthy, or when it fails."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from typing import cast

import pytest

from interlock.cd.objects import Body, identify, uid
from interlock.cd.release_jobs import HELD
from interlock.cd.reports import Outcome
from interlock.errors import Blocked, ClusterError, RenderError, Unhealthy
from tasks.cd import release_jobs
from tests.cluster import killed
from tests.cluster.test_order import application, exists, ordered
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment, service
from tests.killed import exit_code


def job(name: str, run: str, *, command: str = "up", **spec: object) -> Body:
    requests = {"requests": {"cpu": "1m", "memory": "1Mi"}}
    container = {"name": "run", "image": IMAGE, "args": [command], "resources": requests}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": name, "annotations": {"interlock.dev/run": run}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def jobs(world: World, base: str = "") -> dict[str, Body]:
    found = world.admin.list(world.admin.resource("batch/v1", "Job"), world.namespace)
    return {body["metadata"]["name"]: body for body in found if body["metadata"]["name"].startswith(base)}


async def finish(world: World, base: str, phase: str = "Succeeded") -> Body:
    """There is no node: the one pod of the one Job of that name is made to have ended."""
    pods = world.admin.resource("v1", "Pod")
    for _ in range(150):
        for pod in world.admin.list(pods, world.namespace):
            name = pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", "")
            if name.startswith(f"{base}-") and pod["status"]["phase"] == "Pending":
                world.merge(world.path("pods", f"{pod['metadata']['name']}/status"), {"status": {"phase": phase}})
                return jobs(world)[name]
        await asyncio.sleep(0.2)
    raise AssertionError(f"{base} does not run")


async def remove(world: World, body: Body) -> None:
    world.admin.delete(identify(body), uid=uid(body))
    for _ in range(100):
        if body["metadata"]["name"] not in jobs(world):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it does not go")


def migrating(*more: Body, command: str = "up", image: str = IMAGE) -> Mapping[str, str | None]:
    """The application `web`: a migration, its configuration, and a workload."""
    return application(
        "web",
        job("migrate", "before", command=command),
        config_map("settings", {"a": "1"}),
        deployment(image=image),
        *more,
    )


async def deployed(world: World, *names: str) -> None:
    deploying = asyncio.create_task(world.deploy())
    for name in names:
        await ended(deploying, finish(world, name))
    assert (await deploying).said == "deployed"


async def ended(deploying: asyncio.Task[Outcome], finishing: Coroutine[object, object, Body]) -> Body:
    """What a Job was made to, or why the deploy ended before it ran."""
    other = asyncio.create_task(finishing)
    await asyncio.wait({deploying, other}, return_when=asyncio.FIRST_COMPLETED)
    if not other.done():
        other.cancel()
        deploying.result()
    return await other


async def test_a_job_runs_before_the_workloads_and_once(world: World) -> None:
    """After the configuration, before the Deployment; its success is remembered when the Job itself is gone."""
    world.push(migrating())
    presenter = Recorder()
    await world.plan(presenter)
    assert "runs before web's workloads" in presenter.report("plan").body
    deploying = asyncio.create_task(world.deploy(presenter))
    for _ in range(100):
        if jobs(world, "migrate-"):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert exists(world, "settings")
    assert world.get("Deployment", "web", "apps/v1") is None

    ran = await ended(deploying, finish(world, "migrate"))
    outcome = await deploying

    assert outcome.said == "deployed"
    assert world.get("Deployment", "web", "apps/v1") is not None
    report = presenter.report("jobs")
    assert report.title == "dev: 1 Job ran around releases, 0 failed"
    assert ran["spec"]["activeDeadlineSeconds"] == 600
    entry = next(e for i, e in world.inventory().entries.items() if i.kind == "Job")
    assert (entry.uid, entry.result) == (uid(ran), "succeeded")

    await remove(world, ran)
    assert (await world.plan()).empty
    world.push(application("web", job("migrate", "before"), config_map("settings", {"a": "2"}), deployment()))
    assert (await world.deploy()).said == "deployed"
    assert jobs(world) == {}


async def test_a_changed_job_is_another_one_and_the_old_one_goes(world: World) -> None:
    """A Job cannot be changed: a new name runs, and what the release before had is pruned when this one is healthy."""
    world.push(migrating())
    await deployed(world, "migrate")
    first = jobs(world)
    world.push(migrating(command="up-again"))
    await deployed(world, "migrate")
    second = jobs(world)
    assert len(second) == 1
    assert first.keys().isdisjoint(second)


async def test_a_failed_job_stops_its_application_and_runs_what_is_for_failure(world: World) -> None:
    """The workload and who waits for it stay; a neighbour is deployed; nothing runs twice until a commit repairs it."""
    world.push(
        {**migrating(job("clean", "on-failure")), **application("api"), **application("other")}
        | ordered(world, api=["web"])
    )
    presenter = Recorder()
    deploying = asyncio.create_task(world.deploy(presenter))
    await ended(deploying, finish(world, "migrate", "Failed"))
    cleaned = await ended(deploying, finish(world, "clean"))

    with pytest.raises(Unhealthy, match=r"Job/t\w+/migrate-[0-9a-f]{10} failed: BackoffLimitExceeded") as failed:
        await deploying

    assert "api: waits for web" in failed.value.message
    assert world.get("Deployment", "web", "apps/v1") is None
    assert (exists(world, "api"), exists(world, "other")) == (False, True)
    report = presenter.report("jobs")
    assert "(its log is empty)" in report.body
    assert [row["result"] for row in cast("list[dict[str, str]]", report.data)] == ["failed", "succeeded"]
    results = {i.name.rpartition("-")[0]: e.result for i, e in world.inventory().entries.items() if i.kind == "Job"}
    assert results == {"migrate": "failed", "clean": "succeeded"}
    with pytest.raises(Blocked, match="failed for this release: change the Job, or release anew"):
        await world.resync()
    receipts = len(world.receipts())  # the ledger was told once that the plan is held back
    with pytest.raises(Blocked, match="failed for this release"):
        await world.resync()
    assert (len(world.receipts()), uid(jobs(world, "clean")[cleaned["metadata"]["name"]])) == (receipts, uid(cleaned))

    world.push(migrating(job("clean", "on-failure"), command="up-better"))
    await deployed(world, "migrate")
    assert exists(world, "api")
    assert [name.rpartition("-")[0] for name in jobs(world)] == ["migrate"]


async def test_a_job_after_a_release_judges_it(world: World) -> None:
    """It runs when all is healthy; when it fails, the release has failed, and its objects are kept up all the same."""
    world.push({**application("web", job("smoke", "after"), service(), config_map("web", {"a": "1"}))})
    deploying = asyncio.create_task(world.deploy())
    await ended(deploying, finish(world, "smoke", "Failed"))
    with pytest.raises(Unhealthy, match=r"smoke-[0-9a-f]{10} failed"):
        await deploying

    record = world.stored().record
    assert record is not None
    assert (record.deployed, record.pending) == (None, world.head)
    world.merge(world.path("configmaps", "web"), {"data": {"a": "changed"}})
    with pytest.raises(Unhealthy, match="failed for this release"):
        await world.resync()
    assert world.get("ConfigMap", "web")["data"] == {"a": "1"}  # type: ignore[index]

    world.push({**application("web", job("smoke", "after", command="better"), service())})
    await deployed(world, "smoke")


async def test_a_killed_run_is_taken_up_where_its_job_is(world: World) -> None:
    """CD dies while the Job runs: the next run waits for that one and starts no other."""
    world.push(migrating())
    first = await _killed_while_it_runs(world)

    await deployed(world, "migrate")
    assert [uid(body) for body in jobs(world).values()] == [uid(first)]


async def test_what_is_for_a_failure_waits_for_no_neighbour(world: World) -> None:
    """It runs as soon as its application has failed, while another one is under way still."""
    world.push({**migrating(job("clean", "on-failure")), **application("slow", job("long", "before"))})
    deploying = asyncio.create_task(world.deploy())
    await ended(deploying, finish(world, "migrate", "Failed"))
    await ended(deploying, finish(world, "clean"))
    assert not deploying.done()
    await ended(deploying, finish(world, "long"))
    with pytest.raises(Unhealthy, match="migrate"):
        await deploying


async def test_an_unhealthy_workload_runs_what_is_for_failure_at_once(impatient_world: World) -> None:
    """Also where no Job runs around the release, and nobody waits for the application."""
    world = impatient_world
    world.push(
        {
            **application("web", deployment(replicas=1), job("clean", "on-failure")),
            **application("slow", job("long", "before")),
        }
    )
    deploying = asyncio.create_task(world.deploy())
    await ended(deploying, finish(world, "clean"))
    assert not deploying.done()
    await ended(deploying, finish(world, "long"))
    with pytest.raises(Unhealthy, match="0 of 1 replicas"):
        await deploying


async def _killed_while_it_runs(world: World) -> Body:
    """CD is dead, its lock is free, and the Job runs on."""
    assert await asyncio.to_thread(exit_code, killed.run, str(world.config), "job runs 1") == -signal.SIGKILL
    live = world.get("Lease", world.manager, "coordination.k8s.io/v1", world.control)
    assert live is not None
    world.admin.replace({**live, "spec": {**live["spec"], "holderIdentity": ""}}, manager="admin")
    (body,) = jobs(world).values()
    return body


async def test_an_end_that_nobody_saw_is_kept(world: World) -> None:
    """CD dies, the Job succeeds, and somebody deletes it before the next run: it has succeeded, and runs no more."""
    world.push(migrating())
    first = await _killed_while_it_runs(world)
    name = first["metadata"]["name"]
    await finish(world, "migrate")
    for _ in range(100):
        if any(each["type"] == "Complete" for each in jobs(world)[name]["status"].get("conditions", ())):
            break
        await asyncio.sleep(0.2)
    world.admin.delete(identify(first), uid=uid(first))
    assert "deletionTimestamp" in jobs(world)[name]["metadata"]

    assert (await world.deploy()).said == "deployed"

    assert jobs(world) == {}
    assert [(e.uid, e.result) for i, e in world.inventory().entries.items() if i.kind == "Job"] == [
        (uid(first), "succeeded")
    ]
    plan = await world.plan()
    assert (plan.empty, plan.drifted) == (True, ())


async def test_a_job_that_is_deleted_before_its_end_goes_and_runs_again(world: World) -> None:
    """Nothing of ours holds up who deletes a running Job; that it did not end is no success."""
    world.push(migrating())
    deploying = asyncio.create_task(world.deploy())
    for _ in range(100):
        if jobs(world, "migrate-"):
            break
        await asyncio.sleep(0.1)
    (first,) = jobs(world).values()
    world.admin.delete(identify(first), uid=uid(first))
    with pytest.raises(Unhealthy, match="was deleted before it had ended"):
        await deploying
    await deployed(world, "migrate")
    assert [uid(body) for body in jobs(world).values()] != [uid(first)]


async def test_a_held_job_is_let_go_by_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends after the end was stored and before the Job was let go of; the next one does it."""

    def refuse(*_: object) -> None:
        raise ClusterError("no answer", transient=True)

    world.push(migrating())
    with monkeypatch.context() as broken:
        broken.setattr(release_jobs, "let_go", refuse)
        with pytest.raises(ClusterError, match="no answer"):
            await deployed(world, "migrate")
    (first,) = jobs(world).values()
    assert first["metadata"]["finalizers"] == [HELD]
    reasons = {item.identity.kind: item.reason for item in (await world.plan()).writes}
    assert reasons["Job"] == "succeeded: it is held no longer"

    await world.deploy()

    (live,) = jobs(world).values()
    assert (uid(live), "finalizers" in live["metadata"]) == (uid(first), False)
    assert (await world.plan()).empty


async def test_a_release_that_comes_back_runs_no_job_again(world: World) -> None:
    """Rolled back by a commit, the older release has its migration behind it, though that Job itself is gone."""
    world.push(migrating())
    await deployed(world, "migrate")
    world.push(migrating(command="up-again"))
    await deployed(world, "migrate")
    world.push(migrating())

    assert (await world.deploy()).said == "deployed"

    assert jobs(world) == {}
    plan = await world.plan()
    assert plan.empty
    assert "succeeded for this release" in {item.reason for item in plan.items}


async def test_an_application_that_comes_back_runs_its_jobs(world: World) -> None:
    """What its Jobs did may be gone with all else of it."""
    world.push(migrating())
    await deployed(world, "migrate")
    world.push(dict.fromkeys(application("web")))
    await world.deploy()
    assert jobs(world) == {}
    world.push(migrating())
    await deployed(world, "migrate")


async def test_a_running_job_that_git_drops_goes(world: World) -> None:
    """Held by us, left behind by a run that was killed: pruned like anything else, and not in its own way."""
    world.push(migrating())
    await _killed_while_it_runs(world)
    world.push(dict.fromkeys(application("web")))
    await world.deploy()
    assert jobs(world) == {}
    assert all(identity.kind != "Job" for identity in world.inventory().entries)


async def test_another_ones_job_is_no_success(world: World) -> None:
    """Somebody puts a Job of his own in the place of one whose end is not known: blocked until it is gone."""
    world.push(migrating())
    body = await _killed_while_it_runs(world)
    name = body["metadata"]["name"]
    world.merge(world.path("jobs", name, "batch/v1"), {"metadata": {"finalizers": None}})
    await remove(world, body)
    world.admin.create(
        {**job(name, "before"), "metadata": {"name": name, "namespace": world.namespace}}, manager="somebody"
    )

    with pytest.raises(Blocked, match=r"exists and is not ours|another Job has its name"):
        await world.deploy()

    assert world.get("Deployment", "web", "apps/v1") is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (job("migrate", "during"), "interlock.dev/run is 'during'"),
        ({**config_map("c", {}), "metadata": job("c", "before")["metadata"]}, "is for a Job"),
        (job("m" * 53, "before"), "more than 52 characters"),
        (job("migrate", "before", ttlSecondsAfterFinished=0), "ttlSecondsAfterFinished is 0"),
    ],
)
async def test_what_cannot_be_a_release_job_is_refused(world: World, body: Body, complaint: str) -> None:
    """With file and line, before the cluster is asked."""
    world.push(application("web", body))
    with pytest.raises(RenderError, match=complaint):
        await world.deploy()
