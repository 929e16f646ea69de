"""Sees how the objects that are waited for live. One observer for a run, however many wait at it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.cd.causes import Surroundings
from interlock.cd.health import State
from interlock.cd.objects import Body, Resource, identify
from interlock.cd.progress import Progress, Seen, Target, judge, target
from interlock.contract.health import HealthRules
from interlock.contract.render import Identity, Manifest
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import side_by_side

_MAKERS = (("apps/v1", "ReplicaSet"), ("v1", "Pod"))


@dataclass(frozen=True)
class Patience:
    """How an environment judges health, and how long it waits for each object."""

    seconds: float
    still_seconds: float | None = None
    rules: HealthRules | None = None


class Observer:
    """Judges what lives against what is wanted, again and again. An object's clock starts when it is first looked at.

    Not for several threads at once.
    """

    def __init__(self, cluster: Cluster, patience: Patience) -> None:
        self._cluster = cluster
        self._patience = patience
        self._seen: dict[Identity, Seen] = {}
        self._fresh: set[Identity] = set()

    def expect(self, manifests: Iterable[Manifest]) -> None:
        """These were just written: what was seen of them before does not count, and their clocks start again."""
        names = {manifest.identity for manifest in manifests}
        self._fresh |= names
        self._seen = {identity: seen for identity, seen in self._seen.items() if identity not in names}

    def look(self, manifests: Sequence[Manifest]) -> Progress:
        """All of these at one moment: one LIST per kind and namespace, and the pods of what is not healthy."""
        targets = [self._target(manifest) for manifest in manifests]
        live = self._live(manifests)
        found = self._judge(targets, live, ())
        if troubled := sorted({seen.target.identity.namespace for seen in found.awaited} - {""}):
            found = self._judge(targets, live, self._makers(troubled))
        self._seen.update((seen.target.identity, seen) for seen in found.objects)
        return found

    def _target(self, manifest: Manifest) -> Target:
        fresh = manifest.identity in self._fresh
        return target(manifest, seconds=self._patience.seconds, still_seconds=self._patience.still_seconds, fresh=fresh)

    def _judge(self, targets: Iterable[Target], live: Mapping[Identity, Body], around: Iterable[Body]) -> Progress:
        known = {identity: seen for identity, seen in self._seen.items() if seen.health.state != State.HEALTHY}
        return judge(
            targets,
            live,
            Surroundings.of(around),
            now=time.monotonic(),
            rules=self._patience.rules,
            before=known,
        )

    def _live(self, manifests: Iterable[Manifest]) -> dict[Identity, Body]:
        names: dict[tuple[Resource, str], set[str]] = {}
        for manifest in manifests:
            resource = self._cluster.resource(manifest.body["apiVersion"], manifest.body["kind"])
            names.setdefault((resource, manifest.identity.namespace), set()).add(manifest.identity.name)
        parts = side_by_side(lambda each: self._read(*each[0], each[1]), sorted(names.items(), key=str))
        return {identify(body): body for bodies in parts for body in bodies}

    def _read(self, resource: Resource, namespace: str, names: Iterable[str]) -> Sequence[Body]:
        if resource.namespaced:
            return self._cluster.list(resource, namespace)
        return [body for name in sorted(names) if (body := self._cluster.get(resource, name)) is not None]

    def _makers(self, namespaces: Iterable[str]) -> list[Body]:
        """Pods, and the ReplicaSets between them and their Deployments."""
        asked = [(self._cluster.resource(*kind), namespace) for namespace in namespaces for kind in _MAKERS]
        return [body for bodies in side_by_side(lambda pair: self._cluster.list(*pair), asked) for body in bodies]
