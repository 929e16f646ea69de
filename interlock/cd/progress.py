"""How far a wait for health is: what is judged now, against what was judged before, by locally observed time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from interlock.cd.causes import NOTHING, Cause, Surroundings, explain, said, waits_for_consumer
from interlock.cd.health import HEALTHY, Health, Kinds, State, assess, has_pods
from interlock.cd.objects import Body, group_of, subject
from interlock.contract import duration
from interlock.contract.health import Judges
from interlock.contract.manifest import HEALTH_TIMEOUT, NO_PROGRESS_TIMEOUT, Identity, Manifest

SETTLE_SECONDS = 5.0
"""How long what is not sure must stay as it is after a write before it is believed."""
NAMED = 3
"""Objects that a progress line names; the others are counted."""
_NOTED = 200


@dataclass(frozen=True)
class Target:
    """One object that is waited for. Times are in seconds from the moment in which its wait begins."""

    identity: Identity
    application: str = ""
    seconds: float = float("inf")
    still_seconds: float = float("inf")
    """How long it may stand still."""
    fresh: bool = False
    """Whether it was just written, so that what its status says may be older."""


def target(manifest: Manifest, *, seconds: float, still_seconds: float | None = None, fresh: bool = False) -> Target:
    """The environment's times, unless the manifest's annotations give the object others."""
    annotations = manifest.body["metadata"].get("annotations") or {}
    own, still = annotations.get(HEALTH_TIMEOUT), annotations.get(NO_PROGRESS_TIMEOUT)
    return Target(
        manifest.identity,
        manifest.application,
        duration.seconds(own) if own else seconds,
        duration.seconds(still) if still else still_seconds or float("inf"),
        fresh,
    )


@dataclass(frozen=True)
class Seen:
    """One object as it was judged last. `begun`, `moved` and `doomed` are this process's own monotonic seconds."""

    target: Target
    body: Body | None
    found: Health
    """By itself, without time and without its pods."""
    health: Health
    causes: tuple[Cause, ...]
    begun: float
    moved: float
    """When what it lacks was another thing for the last time."""
    doomed: float | None = None
    """Since when it has a cause that does not get better by itself."""

    @property
    def line(self) -> str:
        """What is missing, and why, with what a log says of it: one line."""
        return "; ".join((said(self.health.reason), *(cause.line for cause in self.causes)))

    @property
    def reason(self) -> str:
        """The same for what is kept: no log is in it."""
        return "; ".join((said(self.health.reason), *(cause.plain for cause in self.causes)))


@dataclass(frozen=True)
class Progress:
    """Objects at one moment, in order of their identities."""

    objects: tuple[Seen, ...] = ()
    problem: str = ""
    """What keeps the cluster from being seen now: until it is, nothing is known."""
    now: float = 0.0

    @property
    def awaited(self) -> tuple[Seen, ...]:
        return tuple(seen for seen in self.objects if seen.health.state != State.HEALTHY)

    @property
    def failed(self) -> tuple[Seen, ...]:
        return tuple(seen for seen in self.objects if seen.health.state == State.FAILED)

    @property
    def missing(self) -> tuple[Seen, ...]:
        """Those that are waited for and have not failed."""
        return tuple(seen for seen in self.awaited if seen.health.state != State.FAILED)

    @property
    def total(self) -> int:
        return len(self.objects)

    @property
    def healthy(self) -> int:
        return self.total - len(self.awaited)

    @property
    def done(self) -> bool:
        return not self.problem and not self.awaited

    @property
    def percent(self) -> float:
        return 100.0 * self.healthy / self.total if self.total else 100.0

    @property
    def note(self) -> str:
        """`2 of 9 healthy: Deployment/shop/web: 0 of 2 replicas are new; Job/…: …; 5 more`."""
        awaited = sorted(self.awaited, key=lambda seen: seen.health.state != State.FAILED)
        named = [said(f"{subject(seen.target.identity)}: {seen.line}", _NOTED) for seen in awaited[:NAMED]]
        more = [f"{len(awaited) - NAMED} more"] if len(awaited) > NAMED else []
        problem = [f"unknown: {said(self.problem, _NOTED)}"] if self.problem else []
        lacking = "; ".join((*problem, *named, *more))
        return self.count + (f": {lacking}" if lacking else "")

    @property
    def count(self) -> str:
        return f"{self.healthy} of {self.total} healthy"

    @property
    def elapsed(self) -> float:
        """Seconds since the first of the objects that are awaited began to be."""
        return max((self.now - seen.begun for seen in self.awaited), default=0.0)

    def of(self, names: Collection[Identity]) -> Progress:
        """The part that these objects have in it."""
        return replace(self, objects=tuple(seen for seen in self.objects if seen.target.identity in names))

    @property
    def applications(self) -> dict[str, Progress]:
        """Each application's part, by its name."""
        parts: dict[str, list[Seen]] = {}
        for seen in self.objects:
            parts.setdefault(seen.target.application, []).append(seen)
        return {name: replace(self, objects=tuple(found)) for name, found in sorted(parts.items())}

    @property
    def settled(self) -> bool:
        """Whether nothing is to be waited for: every application is healthy, or has an object that failed."""
        return not self.problem and all(part.done or part.failed for part in self.applications.values())


def judge(
    targets: Iterable[Target],
    live: Mapping[Identity, Body],
    around: Surroundings = NOTHING,
    *,
    now: float,
    rules: Judges | None = None,
    silent: Kinds = (),
    before: Mapping[Identity, Seen] | None = None,
) -> Progress:
    """The health of these objects at this moment, with causes.

    `live` has those that exist. `before` is what was judged last: what did not change since is not judged again, and
    times go on. Deadlines, standing still and hopelessness make an object failed, with the last reason that it gave.
    """
    known = before or {}

    def found(body: Body | None) -> Health:
        return assess(body, rules=rules, silent=silent)

    judged = [
        _judged(each, live.get(each.identity), around, assessed=found, before=known.get(each.identity), now=now)
        for each in sorted(targets, key=lambda each: each.identity)
    ]
    return Progress(tuple(judged), now=now)


def unseen(targets: Iterable[Target], before: Mapping[Identity, Seen], problem: str, *, now: float) -> Progress:
    """What was seen last, while the cluster cannot be seen."""
    unknown = Health(State.UNKNOWN, "was not seen yet")
    ordered = sorted(targets, key=lambda each: each.identity)
    found = [before.get(each.identity) or Seen(each, None, unknown, unknown, (), now, now) for each in ordered]
    return Progress(tuple(found), problem, now)


def _judged(
    target: Target,
    body: Body | None,
    around: Surroundings,
    *,
    assessed: Callable[[Body | None], Health],
    before: Seen | None,
    now: float,
) -> Seen:
    same = before is not None and before.body is body
    if before and same and before.health.state == State.HEALTHY:
        return before
    found = before.found if before and same else assessed(body)
    if _binds_later(body, found, around):
        found = HEALTHY
    begun = before.begun if before else now
    moved = before.moved if before and before.found == found and (same or not _flickers(found, body)) else now
    causes = explain(body, around) if body is not None and found.state != State.HEALTHY else ()
    doomed = _doomed(causes, before, now)
    seen = Seen(target, body, found, found, causes, begun, moved, doomed)
    return replace(seen, health=_in_time(seen, now))


def _binds_later(body: Body | None, found: Health, around: Surroundings) -> bool:
    claim = body is not None and body["kind"] == "PersistentVolumeClaim" and found.state == State.PROGRESSING
    return body is not None and claim and waits_for_consumer(body, around)


def _flickers(found: Health, body: Body | None) -> bool:
    """Whether a change between two looks may have been a crash: the pods were ready, and are again."""
    return body is not None and not found.sure and has_pods(group_of(body["apiVersion"]), body["kind"])


def _doomed(causes: Iterable[Cause], before: Seen | None, now: float) -> float | None:
    """What crashes runs in between: only health ends it."""
    if before and before.doomed is not None and before.health.state != State.HEALTHY:
        return before.doomed
    return now if any(cause.final is not None for cause in causes) else None


def _in_time(seen: Seen, now: float) -> Health:
    """What the object says by itself, seen over the time that we watched it."""
    found, target = seen.found, seen.target
    if not found.sure and target.fresh and found.state != State.PROGRESSING and now - seen.moved < SETTLE_SECONDS:
        return Health(State.PROGRESSING, f"must stay so for {SETTLE_SECONDS:g} s: {found.reason or 'it looks healthy'}")
    if found.state in {State.HEALTHY, State.FAILED}:
        return found
    if seen.doomed is not None and any(
        cause.final is not None and now - seen.doomed >= cause.final for cause in seen.causes
    ):
        return Health(State.FAILED, found.reason)
    if now - seen.moved >= target.still_seconds:
        return Health(State.FAILED, f"{found.reason} (nothing moved for {target.still_seconds:g} s)")
    if now - seen.begun >= target.seconds:
        return Health(State.FAILED, f"{found.reason} (not healthy after {target.seconds:g} s)")
    return found
