"""Runs Jobs around a release to their end, and keeps how they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from interlock.cd.causes import Crash
from interlock.cd.inventory import Inventory
from interlock.cd.objects import Body, controlled, identify, subject, uid
from interlock.cd.plan import JobState, PlanItem, ReleaseJob, Scope
from interlock.cd.release_jobs import Ended, JobRun, ended, is_held, letting_go
from interlock.contract.render import Identity
from interlock.errors import ClusterError, Unhealthy
from tasks.cd import apply
from tasks.cd.cluster import Cluster
from tasks.cd.lease import Lock
from tasks.cd.logs import Logs
from tasks.common.effect import effect

_MANAGER = "interlock"
_PAUSE_SECONDS = 1.0
_GRACE_SECONDS = 60.0
"""How much later than its deadline a Job may end: its controller needs a moment, and a queue may start it late."""


@dataclass(frozen=True)
class Keeping:
    """Who is told of Jobs that run, and who stores that they will be made and how they ended."""

    say: Callable[[str], None]
    keep: Callable[[Sequence[JobRun]], None]
    intend: Callable[[Sequence[PlanItem]], Inventory]
    """For those that no plan was sure of: stores the intents, and gives the inventory with them."""


class Runner:
    """Runs Jobs side by side. How one ended is stored before anything rests on it."""

    def __init__(self, cluster: Cluster, keeping: Keeping, make: Callable[[PlanItem], Awaitable[str]]) -> None:
        """`make` applies the Job and gives its UID."""
        self._cluster = cluster
        self._keeping = keeping
        self._make = make
        self._new: list[JobRun] = []
        self._writing = asyncio.Lock()
        self.runs: list[JobRun] = []

    async def run(self, job: ReleaseJob) -> None:
        """Make the Job, unless an earlier run did, and wait for its end. Unhealthy when it failed, or has not ended.

        A newer commit does not end this wait: what a Job does is not undone by another one beside it.
        """
        started = time.monotonic()
        for earlier in job.earlier:
            await self._passed(earlier, job.seconds)
        made = await self._make(job.item) if job.state == JobState.TO_RUN else job.item.uid
        self._keeping.say(f"{subject(job.identity)} runs {job.when} {job.application}")
        body, how = await self._end(job, made)
        log = await asyncio.to_thread(_log, self._cluster, body) if how.result == JobState.FAILED else ()
        await self._keep(JobRun(job, uid(body), how, time.monotonic() - started, log))
        await asyncio.to_thread(let_go, self._cluster, body)
        if how.result == JobState.FAILED:
            raise Unhealthy(self.runs[-1].line, hint="the report `jobs` has the end of its log")

    async def _end(self, job: ReleaseJob, made: str) -> tuple[Body, Ended]:
        deadline = time.monotonic() + job.seconds + _GRACE_SECONDS
        while True:
            live = await self._find(job.identity)
            if live is None or (made and uid(live) != made):
                raise Unhealthy(
                    f"{subject(job.identity)} was deleted before it had ended", hint="the next run makes it again"
                )
            if how := ended(live):
                return live, how
            await self._leave_to_deletion(live)
            if time.monotonic() > deadline:
                raise Unhealthy(
                    f"{subject(job.identity)} has not ended in {job.seconds} s",
                    hint="it still runs; the next run waits for it again",
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _passed(self, earlier: Identity, seconds: float) -> None:
        """Wait for another release's Job of the same name, left behind by a run that was killed."""
        deadline = time.monotonic() + seconds + _GRACE_SECONDS
        while (live := await self._find(earlier)) and not ended(live):
            await self._leave_to_deletion(live)
            if time.monotonic() > deadline:
                raise Unhealthy(f"{subject(earlier)}, of an earlier release, has not ended", hint="see what it does")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _leave_to_deletion(self, live: Body) -> None:
        """What somebody deletes before its end has none to be kept for."""
        if "deletionTimestamp" in live["metadata"]:
            await asyncio.to_thread(let_go, self._cluster, live)

    async def _find(self, identity: Identity) -> Body | None:
        return await asyncio.to_thread(self._cluster.find, identity)

    async def _keep(self, run: JobRun) -> None:
        """What ends while something is stored is stored with it, all in one."""
        self.runs.append(run)
        self._new.append(run)
        async with self._writing:
            batch, self._new = self._new, []
            if batch:
                await asyncio.to_thread(self._keeping.keep, batch)


def let_go(cluster: Cluster, job: Body) -> None:
    """Take our finalizer off a Job, whatever else is written to it meanwhile. One that is gone is let go of."""
    identity, live = identify(job), cluster.find(identify(job))
    while live and uid(live) == uid(job) and is_held(live):
        try:
            cluster.patch(identity, letting_go(live), manager=_MANAGER)
        except ClusterError as error:
            if error.status not in {404, 409, 422}:
                raise
        live = cluster.find(identity)


def _log(cluster: Cluster, job: Body) -> tuple[str, ...]:
    """The end of what the newest pod of a Job printed; why it cannot be read, when that is so."""
    namespace = job["metadata"]["namespace"]
    pods = [pod for pod in cluster.list(cluster.resource("v1", "Pod"), namespace) if _of(pod, job)]
    if not pods:
        return ("(no log: its pods are gone)",)
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    name, containers = newest["metadata"]["name"], newest["spec"]["containers"]
    asked = [Crash(namespace, name, container["name"], restarts=0, previous=False) for container in containers]
    logs = Logs(cluster)
    logs.about(asked)
    return tuple(line for each in asked for line in logs.known.get(each, ()))


def _of(pod: Body, job: Body) -> bool:
    owners = pod["metadata"].get("ownerReferences", ())
    return controlled(pod) and any(owner.get("uid") == uid(job) for owner in owners)


@effect(name="run on failure")
def run_on_failure(
    cluster: Cluster, jobs: Sequence[ReleaseJob], *, scope: Scope, lock: Lock, keeping: Keeping
) -> tuple[JobRun, ...]:
    """Run what is for the failure of a release. That it fails itself is told, and changes nothing any more."""
    inventory = keeping.intend([job.item for job in jobs])

    async def make(item: PlanItem) -> str:
        written = await asyncio.to_thread(apply.apply_one, cluster, item, inventory=inventory, scope=scope, lock=lock)
        for error in written.refused.values():
            raise error
        return written.uids[item.identity]

    async def all_of_them() -> tuple[JobRun, ...]:
        runner = Runner(cluster, keeping, make)
        results = await asyncio.gather(*(runner.run(job) for job in jobs), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ClusterError | Unhealthy):
                raise result
            if isinstance(result, ClusterError | Unhealthy):
                keeping.say(f"on failure: {result.message}")
        return tuple(runner.runs)

    return asyncio.run(all_of_them())
