"""The middle of a sync: a plan's objects, in the order of stages and applications, and the waits between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from flows.cd.telling import Telling
from interlock.cd import reports
from interlock.cd.advance import Advance, refusals, stopped_by
from interlock.cd.inventory import Inventory
from interlock.cd.order import Course, Stage, course
from interlock.cd.plan import Action, PlanItem
from interlock.cd.progress import Progress
from interlock.cd.record import Record
from interlock.cd.release_jobs import JobRun, on_failure
from interlock.contract.render import Identity, Manifest
from interlock.errors import InterlockError
from tasks.cd import apply, record, release_jobs, rollout, wait
from tasks.cd.lease import Lock
from tasks.cd.newer import NewerCommit
from tasks.cd.observe import Observer
from tasks.cd.record import Keeper, Stored
from tasks.cd.release_jobs import Keeping
from tasks.cd.rollout import Watching

if TYPE_CHECKING:
    from flows.cd.walk import Decision, Site


async def applied(site: Site, decision: Decision, now: Record, lock: Lock, advance: Advance) -> tuple[Stored, Advance]:
    """Inventory with intents first, objects next, then their UIDs; then all of them healthy, and what comes last."""
    plan, step = decision.plan, site.presenter.step
    entries = [decision.stored.inventory.entries[identity] for identity in plan.forgotten]
    gone = await step(apply.confirm_absent, site.cluster, entries) if entries else ()
    before = decision.stored.inventory.remembering(gone, decision.environment.applications)
    inventory = apply.intents(replace(plan, forgotten=()), before, decision.scope)
    with site.timed("record"):
        stored = await step(record.write_inventory, site.cluster, decision.stored, inventory, now)
    order = course(plan.having(Action.CREATE, Action.CHANGE), decision.environment.after, plan.running)
    keeper = record.Keeper(site.cluster, stored)
    writing = Writing(site, decision, keeper, lock, Observer(site.cluster, decision.patience))
    advance, definitions = await _defined(writing, order.definitions, advance)
    advance, foundations = await _stage(writing, order.foundations, advance)
    advance, applications, cleaned = await _applications(writing, order, advance)
    await _noted(writing, {**definitions, **foundations, **applications})
    last = {item.identity for item in order.admission.items}
    advance = await _healthy(writing, [m for m in decision.rendered.manifests if m.identity not in last], advance)
    if last:
        advance, admission = await _stage(writing, order.admission, advance)
        await _noted(writing, admission)
        advance = await _healthy(writing, [m for m in decision.rendered.manifests if m.identity in last], advance)
    await _on_failure(writing, advance.failed.keys() - cleaned)
    return keeper.stored, advance


@dataclass(frozen=True)
class Writing:
    """What every step of a sync writes with."""

    site: Site
    decision: Decision
    keeper: Keeper
    lock: Lock
    observer: Observer

    @property
    def together(self) -> bool:
        return self.decision.environment.on_error == "environment"


Applied = tuple[Advance, Mapping[Identity, str]]
"""How far the applications are after a step, and the UIDs of what it made."""


async def _defined(writing: Writing, stage: Stage, advance: Advance) -> Applied:
    """Namespaces and custom kinds, until they are there for whoever needs them, whosever they are."""
    advance, uids = await _stage(writing, stage, advance)
    defined = [manifest for manifest in writing.decision.rendered.manifests if manifest.identity in uids]
    if not defined:
        return advance, uids
    seen = await _waited(writing, defined)
    missing = {each.target.identity: each.target.application for each in seen.awaited}
    users = (name for pair in missing.items() for name in stopped_by(*pair, writing.decision.plan.items))
    advance = _without(writing, advance, {name: wait.unhealthy(seen) for name in users})
    there = [each for each in defined if each.identity not in missing]
    kinds = [each.body for each in there if each.identity.kind == "CustomResourceDefinition"]
    if kinds:
        await writing.site.presenter.step(wait.wait_served, writing.site.cluster, kinds)
    return advance, uids


async def _stage(writing: Writing, stage: Stage, advance: Advance) -> Applied:
    """Apply what belongs to no order of applications. A definition that is refused stops all that use it."""
    shared = stage.name == "definitions"
    items = tuple(item for item in stage.items if shared or advance.goes(item.application))
    if not items:
        return advance, {}
    with writing.site.timed("apply"):
        written = await writing.site.presenter.step(
            apply.apply_stage,
            writing.site.cluster,
            replace(stage, items=items),
            name=stage.name,
            inventory=writing.keeper.stored.inventory,
            scope=writing.decision.scope,
            lock=writing.lock,
        )
    return _without(writing, advance, refusals(written.refused, writing.decision.plan.items)), written.uids


async def _applications(
    writing: Writing, order: Course, advance: Advance
) -> tuple[Advance, Mapping[Identity, str], Collection[str]]:
    """Each as soon as those that it waits for are healthy. The last are those whose failure was seen to already."""
    units = [unit for unit in order.units if advance.goes(unit.application)]
    if not units:
        return advance, {}, ()
    site = writing.site
    async with _watching(writing) as watching:
        with site.timed("apply"):
            rolled = await site.presenter.step(
                rollout.apply_applications,
                site.cluster,
                units,
                writing.decision.rendered.manifests,
                inventory=writing.keeper.stored.inventory,
                scope=writing.decision.scope,
                lock=writing.lock,
                watching=watching,
                keeping=_keeping(writing),
                together=writing.together,
            )
    await _told(writing, rolled.jobs)
    return _without(writing, advance, rolled.failed), rolled.uids, rolled.cleaned


def _without(writing: Writing, advance: Advance, failed: Mapping[str, InterlockError]) -> Advance:
    """With those that failed now. Nothing goes on when the environment wants all or nothing."""
    advance = advance.without(failed)
    return advance.halted() if failed and writing.together else advance


async def _noted(writing: Writing, uids: Mapping[Identity, str]) -> None:
    """Store the UIDs that the server gave."""
    with writing.site.timed("record"):
        await writing.site.presenter.step(record.keep, writing.keeper, lambda inventory: inventory.noted(uids))


# jobs ------------------------------------------------------------------------------------------------


def _keeping(writing: Writing) -> Keeping:
    """How Jobs ended is stored as soon as it is seen: a Job may be gone a moment later."""

    def keep(runs: Sequence[JobRun]) -> None:
        uids = {run.job.identity: run.uid for run in runs}
        results = {run.job.identity: run.ended.result.value for run in runs}
        writing.keeper.keep(lambda inventory: inventory.noted(uids).judged(results))

    def intend(items: Sequence[PlanItem]) -> Inventory:
        intended = replace(writing.decision.plan, items=tuple(items), repairs=(), forgotten=(), released=())
        writing.keeper.keep(partial(apply.intents, intended, scope=writing.decision.scope))
        return writing.keeper.stored.inventory

    return Keeping(writing.site.presenter.say, keep, intend)


async def _on_failure(writing: Writing, failed: Collection[str]) -> None:
    """Run what is for the failure of a release, once for each release that fails."""
    jobs = on_failure(writing.decision.plan.jobs, failed)
    if jobs:
        runs = await writing.site.presenter.step(
            release_jobs.run_on_failure,
            writing.site.cluster,
            jobs,
            scope=writing.decision.scope,
            lock=writing.lock,
            keeping=_keeping(writing),
        )
        await _told(writing, runs)


async def _told(writing: Writing, runs: Sequence[JobRun]) -> None:
    if runs:
        await writing.site.presenter.show(reports.jobs_report(writing.site.name, runs))


# waiting ---------------------------------------------------------------------------------------------


async def _healthy(writing: Writing, manifests: Sequence[Manifest], advance: Advance) -> Advance:
    """Wait for all that go on."""
    seen = await _waited(writing, [manifest for manifest in manifests if advance.goes(manifest.application)])
    return _without(writing, advance, wait.failures(seen))


async def _waited(writing: Writing, wanted: Sequence[Manifest]) -> Progress:
    """How these are in the end."""
    site = writing.site
    written = {item.identity for item in writing.decision.plan.having(Action.CREATE, Action.CHANGE)}
    async with _watching(writing) as watching:
        with site.timed("wait until healthy"):
            return await site.presenter.step(
                wait.wait_healthy,
                watching.observer,
                wanted,
                what=site.name,
                written=written,
                tell=watching.tell,
                newer=watching.newer,
            )


@asynccontextmanager
async def _watching(writing: Writing) -> AsyncIterator[Watching]:
    """Waiting with progress; what was not healthy in the end is shown."""
    site, telling = writing.site, Telling(writing.site.presenter)
    newer = NewerCommit(site.host.environment_repository, state=site.host.state, commit=writing.decision.commit)
    try:
        yield Watching(writing.observer, telling, newer)
    finally:
        if telling.last and not telling.last.done:
            await site.presenter.show(reports.health_report(site.name, telling.last))
