"""Applies an environment's applications as their graph allows: each as soon as those that it waits for are healthy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

from interlock.cd.advance import joined
from interlock.cd.inventory import Inventory
from interlock.cd.order import Stage, Unit
from interlock.cd.plan import PlanItem, ReleaseJob, Scope, When
from interlock.cd.progress import Progress
from interlock.cd.release_jobs import JobRun, on_failure
from interlock.contract.render import Identity, Manifest
from interlock.errors import ClusterError, InterlockError, Unhealthy
from tasks.cd import apply, wait
from tasks.cd.apply import Written
from tasks.cd.cluster import CONNECTIONS, Cluster
from tasks.cd.lease import Lock
from tasks.cd.observe import Observer
from tasks.cd.release_jobs import Keeping, Runner, run_on_failure
from tasks.common.effect import effect


@dataclass(frozen=True)
class Rolled:
    """UIDs of all that was applied, and the applications that did not get through. Who waited for one is in neither."""

    uids: Mapping[Identity, str]
    failed: Mapping[str, InterlockError]
    jobs: tuple[JobRun, ...] = ()
    cleaned: frozenset[str] = frozenset()
    """The applications for whose failure everything has run that is for it."""


@dataclass(frozen=True)
class Watching:
    """By whom health is seen, who is told meanwhile, and what ends a wait early: a newer commit."""

    observer: Observer
    tell: Callable[[Progress], None]
    newer: Callable[[], bool]


@effect(name="apply applications")
def apply_applications(
    cluster: Cluster,
    units: Sequence[Unit],
    manifests: Sequence[Manifest],
    *,
    inventory: Inventory,
    scope: Scope,
    lock: Lock,
    watching: Watching,
    keeping: Keeping,
    together: bool = False,
) -> Rolled:
    """Apply every unit once those that it waits for are ready, units side by side in one pool of connections.

    Its Jobs run before its workloads, when it is healthy, and as soon as it has failed.

    `manifests` are what the units' health is read from. With `together`, nothing new is begun after a failure.
    Superseded when a newer commit arrives while one is waited for; LockHeld when the lock is lost.
    """
    lock.renew()

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="cluster") as pool:
        write = partial(apply.apply_one, cluster, inventory=inventory, scope=scope, lock=lock)
        clean = partial(run_on_failure.fn, cluster, scope=scope, lock=lock, keeping=keeping)
        rollout = _RollOut(manifests, lambda item: pool.submit(write, item), _Watch(watching), clean, together=together)
        return asyncio.run(rollout.run(units, cluster, keeping))


class _RollOut:
    """All units at once, each in a coroutine of its own: a thousand of them cost what they write."""

    def __init__(
        self,
        manifests: Iterable[Manifest],
        write: Callable[[PlanItem], Future[Written]],
        watch: _Watch,
        clean: Callable[[Sequence[ReleaseJob]], Sequence[JobRun]],
        *,
        together: bool,
    ) -> None:
        self._manifests: dict[str, list[Manifest]] = {}
        for manifest in manifests:
            self._manifests.setdefault(manifest.application, []).append(manifest)
        self._write = write
        self._watch = watch
        self._clean = clean
        self._cleaned: dict[str, Sequence[JobRun]] = {}
        self._together = together
        self._through: dict[str, asyncio.Future[bool]] = {}
        self._written: list[Written] = []
        self._failed: dict[str, InterlockError] = {}

    async def run(self, units: Sequence[Unit], cluster: Cluster, keeping: Keeping) -> Rolled:
        runner = Runner(cluster, keeping, self._make)
        running = asyncio.get_running_loop()
        self._through = {unit.application: running.create_future() for unit in units}
        await asyncio.gather(*(self._bring(unit, runner) for unit in units))
        runs = (*runner.runs, *chain.from_iterable(self._cleaned.values()))
        failed = dict(sorted(self._failed.items()))
        return Rolled(Written.of(self._written).uids, failed, runs, frozenset(self._cleaned))

    async def _bring(self, unit: Unit, runner: Runner) -> None:
        needed = [await self._through[name] for name in unit.after]
        if all(needed) and not (self._together and self._failed):
            try:
                await self._steps(unit, runner)
            except (ClusterError, Unhealthy) as error:
                self._failed[unit.application] = error
            else:
                self._through[unit.application].set_result(True)
                return
        self._through[unit.application].set_result(False)
        if unit.application in self._failed:
            await self._clean_up(unit)

    async def _clean_up(self, unit: Unit) -> None:
        """At once: others may take long, and what failed holds on to what it has begun."""
        jobs = on_failure(unit.jobs, {unit.application})
        self._cleaned[unit.application] = await asyncio.to_thread(self._clean, jobs) if jobs else ()

    async def _steps(self, unit: Unit, runner: Runner) -> None:
        written: set[Identity] = set()
        for stage in unit.first:
            written |= (await self._apply(stage)).uids.keys()
        for job in unit.having(When.BEFORE):
            await runner.run(job)
        for stage in unit.then:
            written |= (await self._apply(stage)).uids.keys()
        late = frozenset(item.identity for stage in unit.last for item in stage.items)
        for stage in unit.last:  # what could refuse writes has to have something behind it that answers
            await self._healthy(unit, written, without=late)
            written |= (await self._apply(stage)).uids.keys()
        if unit.needed:
            await self._healthy(unit, written)
        for job in unit.having(When.AFTER):
            await runner.run(job)

    async def _apply(self, stage: Stage) -> Written:
        whole = Written()
        for wave in stage.waves:
            done = Written.of(await asyncio.gather(*(asyncio.wrap_future(self._write(item)) for item in wave)))
            self._written.append(done)
            if done.refused:
                raise joined(done.refused)
            whole = Written.of((whole, done))
        return whole

    async def _make(self, item: PlanItem) -> str:
        return (await self._apply(Stage("job", (item,)))).uids[item.identity]

    async def _healthy(self, unit: Unit, written: Collection[Identity], *, without: Collection[Identity] = ()) -> None:
        mine = [each for each in self._manifests.get(unit.application, ()) if each.identity not in without]
        await self._watch.until_healthy(mine, written)


@dataclass(frozen=True)
class _Waiting:
    """One application that is waited for."""

    manifests: Sequence[Manifest]
    written: Collection[Identity]
    ended: asyncio.Future[None]


class _Watch:
    """One look a second at all that is waited for at that moment, however many wait."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._new: list[_Waiting] = []
        self._waiting: list[_Waiting] = []
        self._looking: asyncio.Task[None] | None = None

    async def until_healthy(self, manifests: Sequence[Manifest], written: Collection[Identity]) -> None:
        """Unhealthy when one of the objects has failed. Those that were just `written` must be seen to be heeded."""
        waiting = _Waiting(manifests, written, asyncio.get_running_loop().create_future())
        self._new.append(waiting)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await waiting.ended

    async def _look(self) -> None:
        try:
            await self._until_none_waits()
        except Exception as error:  # told to all that wait: nobody else hears of it
            for each in (*self._waiting, *self._new):
                each.ended.set_exception(error)
            self._waiting, self._new = [], []

    async def _until_none_waits(self) -> None:
        while self._new or self._waiting:
            started = time.monotonic()
            begun, self._new = self._new, []
            self._waiting += begun
            seen = await asyncio.to_thread(self._seen, begun)
            self._waiting = [each for each in self._waiting if not _ended(each, seen)]
            pointless: bool = await asyncio.to_thread(self._watching.newer)
            if self._waiting and pointless:
                raise wait.superseded(seen)
            await asyncio.sleep(wait.left(started) if self._waiting else 0)

    def _seen(self, begun: Iterable[_Waiting]) -> Progress:
        observer = self._watching.observer
        observer.expect(
            [manifest for each in begun for manifest in each.manifests if manifest.identity in each.written]
        )
        seen = observer.look([manifest for each in self._waiting for manifest in each.manifests])
        self._watching.tell(seen)
        return seen


def _ended(waiting: _Waiting, seen: Progress) -> bool:
    part = seen.of(frozenset(manifest.identity for manifest in waiting.manifests))
    if part.done:
        waiting.ended.set_result(None)
    elif part.failed:
        waiting.ended.set_exception(wait.unhealthy(part))
    return waiting.ended.done()
