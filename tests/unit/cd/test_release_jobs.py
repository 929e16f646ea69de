"""What a release Job is called, when it runs, and what its end is believed for."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.inventory import Entry, Inventory, decode, encode
from interlock.cd.order import course
from interlock.cd.plan import Action, JobState, Plan, PlanItem, When
from interlock.cd.release_jobs import (
    HELD,
    Ended,
    apart,
    ended,
    for_release,
    is_held,
    letting_go,
    on_failure,
    planned,
)
from interlock.contract.render import Identity, Manifest, Rendered

IMAGES = ("r.example/a@sha256:" + "1" * 64, "r.example/a@sha256:" + "2" * 64)


def job(name: str = "migrate", run: str = "before", *, image: str = IMAGES[0], **spec: Any) -> Manifest:
    container = {"name": "run", "image": image}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "annotations": {"interlock.dev/run": run}},
        "spec": {"template": {"spec": {"containers": [container]}}, **spec},
    }
    return Manifest(body, "web", {})


def workload(image: str, *, replicas: int = 1, application: str = "web") -> Manifest:
    spec = {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}
    metadata = {"name": application, "namespace": "shop"}
    return Manifest(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}, application, {}
    )


def named(*manifests: Manifest) -> list[str]:
    return [each.identity.name for each in for_release(Rendered("dev", manifests, ()), Inventory.of()).manifests]


def test_what_is_known_of_a_job_is_not_said_of_it_under_its_new_name() -> None:
    """Its body is another one: a fingerprint that was kept of the former would be its verdict as well."""
    kept = Manifest(job().body, "web", {}, "kept")
    (found, _) = for_release(Rendered("dev", (kept, workload(IMAGES[0])), ()), Inventory.of()).manifests
    assert found.fingerprint == Manifest(found.body, "web", {}).fingerprint


def test_a_name_stands_for_a_job_and_the_images_beside_it() -> None:
    """Another image of the application is another release; replicas, and other applications, are not."""
    (name, _), (same, _), (image, _) = (
        named(job(), workload(IMAGES[0])),
        named(job(), workload(IMAGES[0], replicas=5)),
        named(job(), workload(IMAGES[1])),
    )
    assert name == same != image
    assert name == named(job(), workload(IMAGES[0]), workload(IMAGES[1], application="other"))[0]
    assert name != named(job(backoffLimit=1), workload(IMAGES[0]))[0]
    assert name.startswith("migrate-")
    assert len(named(job("m" * 52))[0]) == 63


def test_what_is_for_a_failure_may_run_again_when_the_jobs_beside_it_change() -> None:
    """A second attempt that fails in another way is another failure."""
    clean = job("clean", "on-failure")
    assert named(clean, job())[0] != named(clean, job(backoffLimit=1))[0]
    assert named(job(), clean)[0] == named(job(), job("clean", "on-failure", backoffLimit=1))[0]


def test_a_deadline_is_given_where_there_is_none() -> None:
    """Ten minutes, unless the Job says otherwise; what was rendered stays as it was."""
    plain, own = job(), job(activeDeadlineSeconds=7)
    made = for_release(Rendered("dev", (plain, own), ()), Inventory.of()).manifests
    assert [each.body["spec"]["activeDeadlineSeconds"] for each in made] == [600, 7]
    assert "activeDeadlineSeconds" not in plain.body["spec"]


def test_a_job_is_held_until_its_end_is_known() -> None:
    """Whoever deletes it meanwhile, its end is still to be seen; a manifest's own finalizers stay."""
    manifest = job()
    manifest.body["metadata"]["finalizers"] = ["example.org/own"]
    rendered = Rendered("dev", (manifest,), ())
    (held,) = for_release(rendered, Inventory.of()).manifests
    assert held.body["metadata"]["finalizers"] == ["example.org/own", HELD]
    ended_ = Entry(held.identity, "web", "n", "u", result="succeeded")
    for known in (Inventory.of([ended_]), Inventory.of([ended_]).remembering([held.identity], {"web"})):
        (free,) = for_release(rendered, known).manifests
        assert free.body["metadata"]["finalizers"] == ["example.org/own"]
        assert free.identity == held.identity


def test_a_held_job_is_let_go_by_a_patch_of_its_own() -> None:
    """Of this very Job, and of all its finalizers only ours."""
    live = {"metadata": {"uid": "u", "finalizers": ["example.org/own", HELD]}}
    assert is_held(live)
    assert letting_go(live)[-1] == {"op": "remove", "path": "/metadata/finalizers/1"}
    assert not is_held({"metadata": {"uid": "u"}})


def test_a_run_is_remembered_after_its_job_is_gone() -> None:
    """Only a success, only of applications that Git still has, and of each Job only the last ten releases."""

    def entry(name: str, result: str = "succeeded", application: str = "web") -> Entry:
        return Entry(job(name).identity, application, "n", f"u-{name}", result=result)

    inventory = Inventory.of()
    for number in range(12):
        release = entry(f"migrate-{number:010d}")
        inventory = inventory.with_entries([release]).remembering([release.identity], {"web", "other"})
    others = [entry("smoke-aaaaaaaaaa", "failed"), entry("seed-aaaaaaaaaa", application="other"), entry("c-1", "")]
    inventory = inventory.with_entries(others).remembering([each.identity for each in others], {"web", "other"})
    assert inventory.entries == {}
    assert [i.name[-2:] for i in inventory.ran if i.name.startswith("migrate")] == [f"{n:02d}" for n in range(2, 12)]
    assert [i.name for i in inventory.ran if not i.name.startswith("migrate")] == ["seed-aaaaaaaaaa"]
    assert decode(encode(inventory)) == inventory
    assert inventory.group_kinds == ()
    assert len(inventory.remembering([], {"other"}).ran) == 1


def test_a_release_that_comes_back_has_run_its_jobs() -> None:
    """A commit that brings back an older release starts no Job again that succeeded for it."""
    manifest = job("migrate-0123456789")
    known = Inventory.of([Entry(manifest.identity, "web", "n", "u", result="succeeded")])
    known = known.remembering([manifest.identity], {"web"})
    item = PlanItem(manifest.identity, Action.CREATE, application="web", body=manifest.body)
    plan = planned(Plan("dev", "c" * 40, (item,)), [manifest], known)
    assert (plan.jobs[0].state, plan.items[0].action) == (JobState.SUCCEEDED, Action.UNCHANGED)
    assert plan.empty


def test_a_release_job_is_no_part_of_what_an_environment_is() -> None:
    """Health is asked of all the rest."""
    rendered = Rendered("dev", (job(), workload(IMAGES[0])), ())
    assert [each.body["kind"] for each in apart(rendered).manifests] == ["Deployment"]


def plan_of(run: str, action: Action, *, live: str = "", **entry: Any) -> Plan:
    manifest = job("migrate-0123456789", run)
    entries = [Entry(manifest.identity, "web", "n", **entry)] if entry else []
    item = PlanItem(manifest.identity, action, "x", application="web", drift=True, body=manifest.body, uid=live)
    return planned(Plan("dev", "c" * 40, (item,)), [manifest], Inventory.of(entries))


@pytest.mark.parametrize(
    ("run", "action", "entry", "expected"),
    [
        ("before", Action.CREATE, {}, (JobState.TO_RUN, Action.CREATE, "runs before web's workloads")),
        ("after", Action.CREATE, {}, (JobState.TO_RUN, Action.CREATE, "runs when web is healthy")),
        ("on-failure", Action.CREATE, {}, (JobState.TO_RUN, Action.UNCHANGED, "runs when web fails")),
        ("before", Action.CREATE, {"uid": "u"}, (JobState.TO_RUN, Action.CREATE, "runs before web's workloads")),
        (
            "before",
            Action.UNCHANGED,
            {"uid": "u"},
            (JobState.RUNNING, Action.UNCHANGED, "runs before web since an earlier run"),
        ),
        (
            "after",
            Action.CHANGE,
            {"uid": ""},
            (JobState.RUNNING, Action.UNCHANGED, "runs after web since an earlier run"),
        ),
        (
            "before",
            Action.CREATE,
            {"uid": "u", "result": "succeeded"},
            (JobState.SUCCEEDED, Action.UNCHANGED, "succeeded for this release"),
        ),
        (
            "before",
            Action.BLOCKED,
            {"uid": "u", "result": "failed"},
            (JobState.FAILED, Action.UNCHANGED, "failed for this release"),
        ),
    ],
)
def test_a_job_is_run_taken_up_or_remembered(
    run: str, action: Action, entry: dict[str, Any], expected: tuple[JobState, Action, str]
) -> None:
    """By what the inventory knows of its end first, and by whether it lives then; never as drift."""
    plan = plan_of(run, action, **entry)
    (known,), (item,) = plan.jobs, plan.items
    assert (known.state, item.action, item.reason) == expected
    assert not item.drift
    assert plan.empty is (known.state in {JobState.SUCCEEDED, JobState.FAILED} or run == "on-failure")


@pytest.mark.parametrize("entry", [{"uid": "u1"}, {"uid": "u2", "adopted": True}])
def test_another_ones_job_is_not_believed(entry: dict[str, Any]) -> None:
    """A Job of another UID under the name of one whose end is not known blocks the application."""
    plan = plan_of("before", Action.CHANGE, live="u2", **entry)
    assert (plan.items[0].action, plan.jobs) == (Action.BLOCKED, ())


def test_an_earlier_releases_job_is_waited_for_unless_its_end_is_known() -> None:
    """Two migrations of one name never run at once; a Job that only looks alike is none."""
    names = {
        "migrate-aaaaaaaaaa": "",
        "migrate-bbbbbbbbbb": "succeeded",
        "migrate-old": "",
        "migrate-0123456789": "",
    }
    manifest = job("migrate-0123456789")
    entries = [Entry(manifest.identity._replace(name=name), "web", "n", "u", result=end) for name, end in names.items()]
    item = PlanItem(manifest.identity, Action.UNCHANGED, application="web", uid="u")
    plan = planned(Plan("dev", "c" * 40, (item,)), [manifest], Inventory.of(entries))
    assert [each.name for each in plan.jobs[0].earlier] == ["migrate-aaaaaaaaaa"]


def test_a_failure_runs_what_is_for_it_once() -> None:
    """Only of applications that failed, and not again when its end is known."""
    plan = plan_of("on-failure", Action.CREATE)
    (run,) = on_failure(plan.jobs, {"web"})
    assert (run.item.action, on_failure(plan.jobs, {"other"})) == (Action.CREATE, ())
    assert on_failure(plan_of("on-failure", Action.CREATE, uid="u", result="failed").jobs, {"web"}) == ()


def test_an_applications_jobs_are_in_its_unit_and_in_no_stage() -> None:
    """Also when nothing else of it changes; one that runs afterwards needs it healthy."""
    plan = plan_of("after", Action.CREATE)
    (unit,) = course(plan.writes, {}, plan.outstanding).units
    assert (unit.application, unit.stages, unit.needed) == ("web", (), True)
    assert unit.having(When.AFTER) == plan.jobs


def test_what_is_for_a_failure_goes_with_its_application() -> None:
    """It makes no unit of its own; where there is one, its health is waited for there, so that a failure is seen."""
    plan = plan_of("on-failure", Action.CREATE)
    change = PlanItem(workload(IMAGES[0]).identity, Action.CHANGE, application="web")
    assert course([], {}, plan.running).units == ()
    (unit,) = course([change], {}, plan.running).units
    assert (unit.needed, unit.having(When.ON_FAILURE)) == (True, plan.jobs)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], None),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], None),
        ([{"type": "Complete", "status": "False"}], None),
        ([{"type": "Complete", "status": "True"}], Ended(JobState.SUCCEEDED)),
        (
            [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}],
            Ended(JobState.FAILED, "DeadlineExceeded: too long"),
        ),
    ],
)
def test_a_job_has_ended_when_its_controller_says_so(conditions: list[Any], expected: Ended | None) -> None:
    """Complete or failed; not before its pods are accounted for."""
    assert ended({"status": {"conditions": conditions}}) == expected


def test_a_result_survives_in_the_inventory() -> None:
    """Written and read; an entry without one is as it always was."""
    entries = [Entry(Identity("batch", "Job", "shop", name), "web", "n", "u") for name in "ab"]
    inventory = Inventory.of(entries).judged({entries[0].identity: "succeeded"})
    assert [entry.result for entry in decode(encode(inventory)).entries.values()] == ["succeeded", ""]
