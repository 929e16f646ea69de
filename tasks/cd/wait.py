"""Waits until what was applied is healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from interlock.cd.health import Progress, progress
from interlock.cd.objects import Body, Resource, identify
from interlock.contract.render import Identity, Rendered
from interlock.errors import Superseded, Unhealthy
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import side_by_side
from tasks.common.effect import effect

_PAUSE_SECONDS = 1.0
_ASK_FOR_NEWER_SECONDS = 10.0


def look_at_health(cluster: Cluster, wanted: Rendered) -> Progress:
    """All wanted objects at one moment, by one LIST per kind and namespace; the pods tell why something waits."""
    asked = {(cluster.resource(m.body["apiVersion"], m.body["kind"]), m.identity.namespace) for m in wanted.manifests}
    pods = cluster.resource("v1", "Pod")
    listed = sorted(asked | {(pods, namespace) for _, namespace in asked if namespace}, key=str)
    found: dict[Identity, Body] = {}
    names = {manifest.identity for manifest in wanted.manifests}
    for bodies in side_by_side(lambda pair: _read(cluster, *pair, names), listed):
        found.update((identify(body), body) for body in bodies)
    alive = [body for identity, body in found.items() if identity.kind == "Pod" and not identity.group]
    return progress({identity: found.get(identity) for identity in sorted(names)}, alive)


def _read(cluster: Cluster, resource: Resource, namespace: str, names: Iterable[Identity]) -> Sequence[Body]:
    if resource.namespaced:
        return cluster.list(resource, namespace)
    mine = [i.name for i in names if (i.group, i.kind) == (resource.group, resource.kind)]
    return [body for name in mine if (body := cluster.get(resource, name)) is not None]


@effect(name="wait until healthy", task_run_name="wait until {what} healthy")
def wait_healthy(
    cluster: Cluster,
    wanted: Rendered,
    *,
    what: str,
    seconds: float,
    tell: Callable[[Progress], None],
    newer: Callable[[], bool],
) -> Progress:
    """Look once a second until all is healthy.

    Unhealthy at once when something has failed for good, or when the time is up; Superseded when `newer` says so.
    """
    deadline = time.monotonic() + seconds
    ask_again = time.monotonic() + _ASK_FOR_NEWER_SECONDS
    while True:
        seen = look_at_health(cluster, wanted)
        tell(seen)
        if seen.done:
            return seen
        now = time.monotonic()
        if seen.failed or now > deadline:
            raise unhealthy(seen, "failed" if seen.failed else f"not healthy after {seconds:g} s")
        if now > ask_again:
            ask_again = now + _ASK_FOR_NEWER_SECONDS
            if newer():
                raise Superseded(f"a newer commit arrived while waiting: {seen.note}")
        time.sleep(_PAUSE_SECONDS)


def unhealthy(seen: Progress, when: str) -> Unhealthy:
    """The error that names every object that is not healthy, and why."""
    why = "\n".join(f"  - {line}" for line in (*seen.failed, *seen.missing))
    return Unhealthy(
        f"{seen.healthy} of {seen.total} objects are healthy, the others {when}:\n{why}",
        hint="correct it by a new commit; the objects were applied, and `deployed` stays at the last healthy commit",
    )
