"""Jobs around a release: a migration before it, a smoke test after it, a clean-up when it fails.

A Job cannot be changed once it is made (its pod template is immutable), so each release gets one of its own. Its name
holds a digest of the Job and of the images that its application runs: the same release finds the same Job again, and
what is known of it stays in the inventory when the Job itself is gone. Until its end is known there, a finalizer keeps
the Job: whoever deletes it, and however long CD is away, no end is missed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import Body, annotation, conditions, subject
from interlock.cd.plan import STOPS, Action, JobState, Plan, PlanItem, ReleaseJob, When
from interlock.contract.canonical import canonical, digest
from interlock.contract.manifest import RUN
from interlock.contract.render import Identity, Manifest, Rendered
from interlock.contract.workloads import mapping

SECONDS = 600
"""How long a release Job may run that gives no `activeDeadlineSeconds` itself."""
_DIGITS = 10
HELD = "interlock.dev/result"
"""The finalizer of a release Job whose end is not in the inventory yet."""


def is_release_job(manifest: Manifest) -> bool:
    return bool(annotation(manifest.body, RUN))


def for_release(rendered: Rendered, inventory: Inventory) -> Rendered:
    """The same, with every release Job under the name that it has for the release of its application.

    Those whose end is not known are held until it is.
    """
    jobs = [each for each in rendered.manifests if is_release_job(each)]
    if not jobs:
        return rendered
    manifests = (
        _until_known(_for_release(each, rendered, jobs), inventory) if is_release_job(each) else each
        for each in rendered.manifests
    )
    return replace(rendered, manifests=tuple(manifests))


def _until_known(manifest: Manifest, inventory: Inventory) -> Manifest:
    metadata = manifest.body["metadata"]
    if _result(manifest.identity, inventory) or HELD in (metadata.get("finalizers") or ()):
        return manifest
    finalizers = [*(metadata.get("finalizers") or ()), HELD]
    return _with(manifest, {**manifest.body, "metadata": {**metadata, "finalizers": finalizers}})


def _with(manifest: Manifest, body: dict[str, Any]) -> Manifest:
    """Another body, of which what was known of the former says nothing."""
    return replace(manifest, body=body, known_fingerprint="")


def _result(identity: Identity, inventory: Inventory) -> str:
    """How a Job ended, as far as that is known; one that ran when its release was here before counts as well."""
    entry, before = inventory.get(identity), inventory.ran.get(identity)
    return (entry.result if entry and entry.uid else "") or (before.result if before else "")


def is_held(live: Body) -> bool:
    """Whether our finalizer is on an object."""
    return HELD in (live["metadata"].get("finalizers") or ())


def letting_go(live: Body) -> tuple[Body, ...]:
    """A JSON Patch (RFC 6902) that takes our finalizer off this very object, and leaves all others on it."""
    place = f"/metadata/finalizers/{live['metadata']['finalizers'].index(HELD)}"
    return (
        {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
        {"op": "test", "path": place, "value": HELD},
        {"op": "remove", "path": place},
    )


def _for_release(manifest: Manifest, rendered: Rendered, jobs: Iterable[Manifest]) -> Manifest:
    """What is for a failure is also for other Jobs of the same release: when they change, it may run again."""
    mine = [each for each in rendered.manifests if each.application == manifest.application]
    images = sorted({image for each in mine for image in each.images})
    beside = [each.body for each in jobs if each.application == manifest.application and each is not manifest]
    others = beside if annotation(manifest.body, RUN) == When.ON_FAILURE else []
    short = digest(canonical([manifest.body, images, others])).removeprefix("sha256:")[:_DIGITS]
    metadata, spec = manifest.body["metadata"], manifest.body.get("spec")
    body = {**manifest.body, "metadata": {**metadata, "name": f"{metadata['name']}-{short}"}}
    if isinstance(spec, dict):
        body["spec"] = {"activeDeadlineSeconds": SECONDS, **spec}
    return _with(manifest, body)


def apart(rendered: Rendered) -> Rendered:
    """What an environment is, without what only runs for it."""
    return replace(rendered, manifests=tuple(each for each in rendered.manifests if not is_release_job(each)))


def planned(plan: Plan, manifests: Iterable[Manifest], inventory: Inventory) -> Plan:
    """The plan with its release Jobs told apart: what runs, what ran, and what runs when something fails."""
    bodies = {each.identity: each.body for each in manifests if is_release_job(each)}
    if not bodies:
        return plan
    jobs = {
        item.identity: _job(item, bodies[item.identity], inventory) for item in plan.items if item.identity in bodies
    }
    items = tuple(jobs[item.identity].item if item.identity in jobs else item for item in plan.items)
    sound = tuple(job for job in jobs.values() if job.item.action not in STOPS)
    return replace(plan, items=items, jobs=sound)


def _job(item: PlanItem, body: Body, inventory: Inventory) -> ReleaseJob:
    when, entry = When(annotation(body, RUN)), inventory.get(item.identity)
    if entry and _replaced(item, entry):
        item = replace(item, action=Action.BLOCKED, reason="another Job has its name, and not ours: delete it")
    state = _state(item, _result(item.identity, inventory))
    job = ReleaseJob(item, when, state, _seconds(body), _earlier(item, inventory))
    if item.action in STOPS and state in {JobState.TO_RUN, JobState.RUNNING}:
        return job
    if _held_on(item, state):
        return replace(job, item=replace(item, reason=f"{state}: it is held no longer", drift=False))
    runs = job.outstanding and state == JobState.TO_RUN
    told = PlanItem(item.identity, Action.CREATE if runs else Action.UNCHANGED, _reason(job), body=item.body)
    return replace(job, item=replace(told, application=item.application, uid=entry.uid if entry else ""))


def _replaced(item: PlanItem, entry: Entry) -> bool:
    """Whether somebody put another Job in the place of one whose end is not known: what it says is not its word."""
    return not entry.result and (entry.adopted or bool(entry.uid and item.uid and item.uid != entry.uid))


def _held_on(item: PlanItem, state: JobState) -> bool:
    """Whether its end is known, and our finalizer is still on it: a run was killed between the two."""
    known = state in {JobState.SUCCEEDED, JobState.FAILED} and item.action == Action.CHANGE
    return known and any(HELD in (field.live or "") for field in item.fields if field.at[:2] == _FINALIZERS)


_FINALIZERS = ("metadata", "finalizers")


def _state(item: PlanItem, result: str) -> JobState:
    if result:
        return JobState(result)
    return JobState.TO_RUN if item.action == Action.CREATE else JobState.RUNNING


def _reason(job: ReleaseJob) -> str:
    name = job.application
    if job.state in {JobState.SUCCEEDED, JobState.FAILED}:
        return f"{job.state} for this release"
    if job.state == JobState.RUNNING:
        return f"runs {job.when} {name} since an earlier run"
    return {
        When.BEFORE: f"runs before {name}'s workloads",
        When.AFTER: f"runs when {name} is healthy",
        When.ON_FAILURE: f"runs when {name} fails",
    }[job.when]


def _seconds(body: Body) -> int:
    found = mapping(body, ("spec",)).get("activeDeadlineSeconds")
    return found if isinstance(found, int) else SECONDS


def _earlier(item: PlanItem, inventory: Inventory) -> tuple[Identity, ...]:
    """Jobs that the inventory has under the same name for other releases, and does not know the end of."""
    base = item.identity.name[: -_DIGITS - 1]
    name = re.compile(rf"{re.escape(base)}-[0-9a-f]{{{_DIGITS}}}")
    return tuple(
        identity
        for identity, entry in inventory.entries.items()
        if identity != item.identity
        and identity._replace(name="") == item.identity._replace(name="")
        and name.fullmatch(identity.name)
        and not entry.result
    )


# how one ends ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """`reason` is the Job controller's, for one that failed."""

    result: JobState
    reason: str = ""


def ended(body: Body) -> Ended | None:
    """How a Job ended; None when it has not. Complete, not merely running."""
    for condition in conditions(body):
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return Ended(JobState.SUCCEEDED)
        if condition.get("type") == "Failed":
            said = f"{condition.get('reason', 'Failed')}: {condition.get('message', 'no message')}"
            return Ended(JobState.FAILED, said)
    return None


@dataclass(frozen=True)
class JobRun:
    """One run of a release Job, for people. `log` has the last lines that its newest pod printed."""

    job: ReleaseJob
    uid: str
    ended: Ended
    seconds: float
    log: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """`Job/shop/migrate-0123456789 failed: BackoffLimitExceeded: …`"""
        why = f": {self.ended.reason}" if self.ended.reason else ""
        return f"{subject(self.job.identity)} {self.ended.result}{why}"


def failed_before(jobs: Iterable[ReleaseJob], when: When) -> Mapping[str, str]:
    """By application: that a Job of its release is known to have failed, and what to do."""
    return {
        job.application: f"{subject(job.identity)} failed for this release: change the Job, or release anew"
        for job in jobs
        if job.state == JobState.FAILED and job.when == when
    }


def on_failure(jobs: Iterable[ReleaseJob], failed: Collection[str]) -> tuple[ReleaseJob, ...]:
    """What runs because these applications failed, and has not run for this release yet."""
    return tuple(
        replace(job, item=replace(job.item, action=Action.CREATE)) if job.state == JobState.TO_RUN else job
        for job in jobs
        if job.when == When.ON_FAILURE
        and job.application in failed
        and job.state in {JobState.TO_RUN, JobState.RUNNING}
    )
