"""Waits until what was applied is healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from interlock.cd.objects import Body, subject
from interlock.cd.progress import Progress
from interlock.contract.render import Identity, Manifest
from interlock.errors import ClusterError, Superseded, Unhealthy
from tasks.cd.cluster import Cluster
from tasks.cd.observe import Observer
from tasks.common.effect import effect

PAUSE_SECONDS = 1.0
_SERVED_SECONDS = 30.0


@effect(name="wait until healthy", task_run_name="wait until {what} healthy")
def wait_healthy(
    observer: Observer,
    manifests: Sequence[Manifest],
    *,
    what: str,
    written: Collection[Identity],
    tell: Callable[[Progress], None],
    newer: Callable[[], bool],
) -> Progress:
    """Look once a second until every application is healthy, or has an object that failed; how it is in the end.

    Those that this run has `written` must be seen to be heeded. Superseded when `newer` says so.
    """
    fresh = [each for each in manifests if each.identity in written and not observer.has_seen(each.identity)]
    observer.expect(fresh)
    while True:
        started = time.monotonic()
        seen = observer.look(manifests)
        tell(seen)
        if seen.settled:
            return seen
        if newer():
            raise superseded(seen)
        time.sleep(left(started))


@effect(name="look at health", retries=1)
def look_closely(observer: Observer, manifests: Sequence[Manifest]) -> Progress:
    """Once, with all that tells why something is not healthy."""
    return observer.look(manifests, closely=True)


def left(started: float) -> float:
    """Seconds until the next look: most looks take their second themselves."""
    return max(0.0, PAUSE_SECONDS - (time.monotonic() - started))


def superseded(seen: Progress) -> Superseded:
    return Superseded(f"a newer commit arrived while waiting: {seen.count}")


def failures(seen: Progress, *, when: str = "are not") -> dict[str, Unhealthy]:
    """The applications that are not healthy, with what they lack."""
    return {name: unhealthy(part, when=when) for name, part in seen.applications.items() if not part.done}


def unhealthy(seen: Progress, *, when: str = "are not") -> Unhealthy:
    """The error that names every object that is not healthy, and why."""
    why = "\n".join(f"  - {subject(each.target.identity)}: {each.reason}" for each in (*seen.failed, *seen.missing))
    return Unhealthy(
        f"{seen.healthy} of {seen.total} objects are healthy, the others {when}:\n{why}",
        hint="correct it by a new commit; the objects were applied, and `deployed` stays at the last healthy commit",
    )


@effect(name="wait until served")
def wait_served(cluster: Cluster, definitions: Sequence[Body]) -> None:
    """Until the API server serves the kinds that these definitions make, which follows `Established` a little later."""
    deadline = time.monotonic() + _SERVED_SECONDS
    for body in definitions:
        spec = body["spec"]
        for version in (each["name"] for each in spec["versions"] if each.get("served")):
            _wait_for_kind(cluster, f"{spec['group']}/{version}", spec["names"]["kind"], deadline)


def _wait_for_kind(cluster: Cluster, api_version: str, kind: str, deadline: float) -> None:
    while True:
        try:
            cluster.resource(api_version, kind)
        except ClusterError as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
