"""Sees how the objects that are waited for live. One observer for a run, however many wait at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Self

from interlock.cd.causes import Surroundings, suspects
from interlock.cd.health import State, has_pods, says_nothing
from interlock.cd.objects import Body
from interlock.cd.progress import Progress, Seen, Target, judge, target, unseen
from interlock.cd.strict_health import Strict
from interlock.contract.health import HealthRules, Judges
from interlock.contract.kinds import BUILT_IN_GROUPS
from interlock.contract.render import Identity, Manifest
from interlock.contract.repository import Environment, Repository
from interlock.errors import ClusterError
from tasks.cd.cluster import WATCHES, Cluster
from tasks.cd.events import Events
from tasks.cd.feeds import WATCH_SECONDS, Feed, Named
from tasks.cd.health_rules import Apart
from tasks.cd.logs import Logs
from tasks.cd.older_health import NO_OLDER, OlderHealth

PATIENT_SECONDS = 5.0
"""How long something may wait before events are read about it: most things are healthy by then."""
ASKED = 8
"""Objects of which one look reads the events at most."""
Key = tuple[str, str, str]
"""Group, kind and namespace: what one feed is about."""


@dataclass(frozen=True)
class Patience:
    """How an environment judges health, and how long it waits for each object."""

    seconds: float
    still_seconds: float | None = None
    rules: HealthRules | None = None
    older: OlderHealth = NO_OLDER

    @classmethod
    def of(cls, repository: Repository, environment: Environment, older: OlderHealth = NO_OLDER) -> Self:
        return cls(environment.health_seconds, environment.no_progress_seconds, repository.health, older)

    def judges(self) -> Judges | None:
        """Whoever judges custom kinds, in processes of their own."""
        if self.rules is None or not self.older.rules:
            return Apart(self.rules) if self.rules else None
        return Strict(Apart(self.rules), tuple(map(Apart, self.older.rules)), self.older.changed)


class Observer:
    """Judges what lives against what is wanted, again and again. An object's clock starts when it is first looked at.

    Not for several threads at once. While the cluster does not answer nothing is known, and no clock runs.
    """

    def __init__(self, cluster: Cluster, patience: Patience) -> None:
        self._cluster = cluster
        self._patience = patience
        self._feeds: dict[Key, Feed] = {}
        self._rules = patience.judges()
        self._events = Events(cluster)
        self._logs = Logs(cluster)
        self._seen: dict[Identity, Seen] = {}
        self._fresh: set[Identity] = set()
        self._silent: dict[tuple[str, str], bool] = {}
        self._blind = 0.0
        self._blind_since: float | None = None

    def expect(self, manifests: Iterable[Manifest]) -> None:
        """These were just written: what was seen of them before does not count, and their clocks start again."""
        for manifest in manifests:
            self._fresh.add(manifest.identity)
            self._seen.pop(manifest.identity, None)
            if feed := self._feeds.get(_key(manifest.identity)):
                feed.forget()

    def has_seen(self, identity: Identity) -> bool:
        """Whether it was looked at since it was last expected."""
        return identity in self._seen

    def look(self, manifests: Sequence[Manifest], *, closely: bool = False) -> Progress:
        """All of these at one moment, with the reasons of those that are not healthy.

        The first look lists each kind and namespace; the next ones take a second, in which they watch for changes:
        what stays as it is costs no request. With `closely`, events are read at once and not only after a while.
        """
        targets = [self._target(manifest) for manifest in manifests]
        try:
            self._refresh(manifests)
            found = self._judged(manifests, targets, closely=closely)
        except ClusterError as error:
            if not error.transient:
                raise
            return self._unseen(targets, error)
        self._blind, self._blind_since = self._blind + self._blind_for(), None
        self._seen.update((seen.target.identity, seen) for seen in found.objects)
        return found

    def _target(self, manifest: Manifest) -> Target:
        fresh = manifest.identity in self._fresh
        return target(manifest, seconds=self._patience.seconds, still_seconds=self._patience.still_seconds, fresh=fresh)

    # what lives ---------------------------------------------------------------------------------------

    def _refresh(self, manifests: Iterable[Manifest]) -> None:
        """Bring to this moment what may be another now: what is awaited, what is not known, and all with pods."""
        due: dict[Key, Feed] = {}
        for manifest in manifests:
            key, feed = _key(manifest.identity), self._feed(manifest)
            if not feed.current or has_pods(*key[:2]) or not self._is_healthy(manifest.identity):
                due[key] = feed
        beside = {key for namespace in self._troubled(self._seen.values()) for key in _makers(namespace)}
        due |= {key: self._feeds[key] for key in beside & self._feeds.keys()}
        _in_parallel([feed.refresh for feed in due.values()])

    def _feed(self, manifest: Manifest) -> Feed:
        key = _key(manifest.identity)
        if key not in self._feeds:
            resource = self._cluster.resource(manifest.body["apiVersion"], manifest.body["kind"])
            made = Feed(self._cluster, resource, key[2]) if resource.namespaced else Named(self._cluster, resource)
            self._feeds[key] = made
        feed = self._feeds[key]
        if isinstance(feed, Named):
            feed.name(manifest.identity.name)
        return feed

    def _is_healthy(self, identity: Identity) -> bool:
        seen = self._seen.get(identity)
        return seen is not None and seen.health.state == State.HEALTHY

    def _troubled(self, objects: Iterable[Seen]) -> set[str]:
        """The namespaces in which something waits that pods may tell of."""
        return {
            seen.target.identity.namespace
            for seen in objects
            if seen.body is not None
            and seen.health.state != State.HEALTHY
            and (has_pods(*_key(seen.target.identity)[:2]) or _is_claim(seen))
        }

    def _around(self, namespaces: Iterable[str]) -> Surroundings:
        """With pods, and the ReplicaSets between them and their Deployments; none where they may not be read."""
        keys = {key: kind for namespace in namespaces for key, kind in _makers(namespace).items()}
        for key in keys.keys() - self._feeds.keys():
            self._feeds[key] = Feed(self._cluster, self._cluster.resource(*keys[key]), key[2], optional=True)
        _in_parallel([self._feeds[key].refresh for key in keys if not self._feeds[key].current])
        beside = chain.from_iterable(self._feeds[key].bodies.values() for key in keys)
        return Surroundings.of(beside, self._events.known, self._logs.known)

    # what it means ------------------------------------------------------------------------------------

    def _judged(self, manifests: Sequence[Manifest], targets: Sequence[Target], *, closely: bool) -> Progress:
        live = dict(chain.from_iterable(self._feeds[key].bodies.items() for key in {_key(t.identity) for t in targets}))
        now = time.monotonic() - self._blind - self._blind_for()

        def judged(around: Surroundings) -> Progress:
            silent = {kind for kind, nothing in self._silent.items() if nothing}
            return judge(targets, live, around, now=now, rules=self._rules, silent=silent, before=self._seen)

        self._ask_definitions(manifests, live)
        known = self._troubled(self._seen.values())
        around = self._around(known)
        found = judged(around)
        if more := self._troubled(found.objects) - known:
            around = self._around(known | more)
            found = judged(around)
        return judged(around) if self._ask_more(found, around, closely=closely) else found

    def _ask_definitions(self, manifests: Iterable[Manifest], live: Mapping[Identity, Body]) -> None:
        """Whether kinds whose objects have no status give theirs anything to say."""
        for manifest in manifests:
            kind = _key(manifest.identity)[:2]
            body = live.get(manifest.identity)
            if (
                body is not None
                and kind[0] not in BUILT_IN_GROUPS
                and not body.get("status")
                and kind not in self._silent
            ):
                nothing = self._says_nothing(manifest.api_version, kind[1])
                if nothing is not None:
                    self._silent[kind] = nothing

    def _says_nothing(self, api_version: str, kind: str) -> bool | None:
        """None while the server does not publish the kind's schema (yet)."""
        try:
            document = self._cluster.request("GET", f"/openapi/v3/apis/{api_version}")
        except ClusterError as error:
            if error.status not in {403, 404}:
                raise
            return None
        return says_nothing(document, api_version, kind)

    def _ask_more(self, found: Progress, around: Surroundings, *, closely: bool) -> bool:
        """Events and logs of a few objects that wait; whether there was anything to ask. The surroundings have it."""
        waiting = [
            seen
            for seen in (*found.failed, *found.missing)
            if seen.body is not None
            and seen.target.identity.namespace
            and (closely or seen.health.state == State.FAILED or found.now - seen.begun >= PATIENT_SECONDS)
        ]
        chosen = [(seen.body, seen) for seen in waiting[:ASKED] if seen.body is not None]
        asked = self._events.about(
            (seen.target.identity.namespace, uid) for body, seen in chosen for uid in suspects(body, around)
        )
        asked |= self._logs.about(cause.crash for _, seen in chosen for cause in seen.causes if cause.crash)
        for namespace in sorted({s.target.identity.namespace for s in found.missing if _is_claim(s) and s.body}):
            asked |= self._events.unbound(namespace)
        return asked

    # while nothing is seen ----------------------------------------------------------------------------

    def _blind_for(self) -> float:
        return 0.0 if self._blind_since is None else time.monotonic() - self._blind_since

    def _unseen(self, targets: Iterable[Target], error: ClusterError) -> Progress:
        """What was seen last, as unknown. The error itself when the cluster is away for longer than is waited for."""
        now = time.monotonic()
        self._blind_since = now if self._blind_since is None else self._blind_since
        if now - self._blind_since >= self._patience.seconds:
            raise error
        time.sleep(WATCH_SECONDS)
        return unseen(targets, self._seen, error.message, now=now - self._blind - self._blind_for())


def _key(identity: Identity) -> Key:
    return identity.group, identity.kind, identity.namespace


def _makers(namespace: str) -> dict[Key, tuple[str, str]]:
    return {("apps", "ReplicaSet", namespace): ("apps/v1", "ReplicaSet"), ("", "Pod", namespace): ("v1", "Pod")}


def _is_claim(seen: Seen) -> bool:
    return _key(seen.target.identity)[:2] == ("", "PersistentVolumeClaim")


def _in_parallel(work: Sequence[Callable[[], None]]) -> None:
    """Run all of it side by side; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(WATCHES, thread_name_prefix="watch") as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()
