"""Which applications go on and which are stopped: a broken object stops its own, and those that wait for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from interlock.cd.objects import subject
from interlock.cd.plan import STOPS, Action, Plan, PlanItem, When, reasons
from interlock.cd.release_jobs import failed_before
from interlock.contract.render import Identity
from interlock.contract.report import counted
from interlock.contract.repository import Environment
from interlock.errors import Blocked, ClusterError, InterlockError, Unhealthy

After = Mapping[str, tuple[str, ...]]
"""By application: those that it waits for. Without a cycle."""


@dataclass(frozen=True)
class Advance:
    """How far the applications of a plan are. Who is in neither mapping goes on."""

    plan: Plan
    applications: Collection[str]
    after: After
    blocked: Mapping[str, str]
    """Is left as it is: why."""
    failed: Mapping[str, InterlockError]
    """Was begun, and did not get through."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """Is kept as Git says, and is not what its release ought to be: why."""

    def goes(self, application: str) -> bool:
        return application not in self.failed and application not in self.blocked

    @property
    def through(self) -> bool:
        return not self.failed and not self.blocked and not self.unready

    def without(self, failed: Mapping[str, InterlockError]) -> Advance:
        """With more applications that did not get through; those that wait for them stay as they are."""
        failed = {**failed, **self.failed}
        waiting = _waiting({*failed, *self.blocked, *self.unready}, self.after)
        now = {name: f"waits for {waiting[name]}" for name in changing(self.plan) if name in waiting}
        blocked = {**now, **self.blocked}
        return replace(self, failed=failed, blocked={name: blocked[name] for name in sorted(blocked.keys() - failed)})

    def halted(self) -> Advance:
        """Nobody goes on."""
        others = (name for name in self.applications if self.goes(name))
        reason = "`on_error` is `environment`, and another one failed"
        return replace(self, blocked={**self.blocked, **dict.fromkeys(others, reason)})

    def may_prune(self, application: str) -> bool:
        """Only what nobody may need any more: all that wait for the application have to be through as well.

        What belonged to an application that Git no longer has may be used by anyone who is stopped.
        """
        if application not in self.applications:
            return self.through
        return all(
            self.goes(name) and name not in self.unready for name in (application, *_waiting({application}, self.after))
        )

    def needed_as_they_are(self) -> frozenset[str]:
        """Those that one which changes waits for, and which do not change themselves."""
        changed = changing(self.plan)
        return frozenset(other for name in changed for other in self.after.get(name, ()) if other not in changed)

    def possible(self) -> Plan:
        """What of the plan is done: the shares of all that go on, and the definitions that they need."""
        if self.through:
            return self.plan
        going = [item.identity for item in self.plan.items if self.goes(item.application)]
        used = {("Namespace", each.namespace) for each in going} | {
            ("CustomResourceDefinition", e.group) for e in going
        }

        def chosen(item: PlanItem) -> bool:
            if item.action == Action.PRUNE:
                return self.may_prune(item.application)
            return item.action not in STOPS and (self.goes(item.application) or _defines(item.identity) in used)

        jobs = tuple(job for job in self.plan.jobs if self.goes(job.application))
        return replace(self.plan, items=tuple(item for item in self.plan.items if chosen(item)), jobs=jobs)

    def error(self, *, written: bool) -> InterlockError:
        """How a sync ends in which an application did not get through; `written` says whether anything was."""
        broken = {item.application for item in self.plan.stops}
        lines = [f"{name}: {error.message}".replace("\n", "\n  ") for name, error in self.failed.items()]
        lines += [f"{name}: {why}" for name, why in self.unready.items()]
        lines += [f"{name}: {why}" for name, why in self.blocked.items() if name not in broken]
        hint = "the other applications are deployed" if written else "nothing was written"
        if self.plan.stops or not (self.failed or self.unready):
            return self._blocked(lines, hint)
        if self.failed and len(lines) == 1:
            return next(iter(self.failed.values()))
        commit, told = self.plan.commit[:12], "".join(f"\n  - {line}" for line in lines)
        what = counted(len(lines), "application is not", "applications are not")
        message = f"{self.plan.environment}: {what} at {commit}:{told}"
        if not self.unready and all(isinstance(error, ClusterError) for error in self.failed.values()):
            return ClusterError(message, hint=hint)
        return Unhealthy(message, hint=f"push a commit that mends what is named; {hint}")

    def _blocked(self, lines: Iterable[str], hint: str) -> Blocked:
        stops, commit = self.plan.stops, self.plan.commit[:12]
        what = (
            f"{counted(len(stops), 'object')} cannot be made as {commit} says"
            if stops
            else f"not all can be brought to {commit}"
        )
        return Blocked(
            f"{self.plan.environment}: {what}",
            reasons=(*reasons(stops), *lines),
            hint=f"push a commit that mends what is named; {hint}",
        )


def begun(plan: Plan, environment: Environment) -> Advance:
    """Before anything is written: what the plan's own items stop, or a first release that is awaited."""
    broken: dict[str, str] = {}
    for item in plan.stops:
        for name in stopped_by(item.identity, item.application, plan.items):
            broken.setdefault(name, f"{subject(item.identity)}: {item.action}: {item.reason}")
    for name, failure in failed_before(plan.jobs, When.BEFORE).items():
        broken.setdefault(name, failure)
    unready = {name: why for name, why in failed_before(plan.jobs, When.AFTER).items() if name not in broken}
    awaited = {name for name, each in environment.applications.items() if each.awaiting}
    why = dict(broken)
    for name, other in _waiting({*broken, *awaited, *unready}, environment.after).items():
        first = ", which awaits its first release" if other in awaited else ""
        why.setdefault(name, f"waits for {other}{first}")
    if why and environment.on_error == "environment":
        others = dict.fromkeys(environment.applications, "`on_error` is `environment`, and another one is blocked")
        why = {**others, **why}
    concerned = broken.keys() | changing(plan)
    blocked = {name: why[name] for name in sorted(why) if name in concerned}
    return Advance(plan, tuple(environment.applications), environment.after, blocked, {}, unready)


def changing(plan: Plan) -> frozenset[str]:
    """The applications of which something is to be written, or to run."""
    return frozenset([item.application for item in plan.writes] + [job.application for job in plan.outstanding])


def _waiting(stopped: Collection[str], after: After) -> dict[str, str]:
    """Who waits for one of these, directly or through others, and for whom."""
    found: dict[str, str] = {}
    for name in TopologicalSorter(after).static_order():
        if other := next((each for each in after.get(name, ()) if each in stopped or each in found), None):
            found[name] = other
    return found


def joined(refused: Mapping[Identity, ClusterError]) -> ClusterError:
    """What the server said to several objects of an application, as one error."""
    errors = list(refused.values())
    if len(errors) == 1:
        return errors[0]
    told = "".join(f"\n  - {error.message}" for error in errors)
    what = counted(len(errors), "object was refused", "objects were refused")
    return ClusterError(f"{what}:{told}", status=errors[0].status, hint=errors[0].hint)


def refusals(refused: Mapping[Identity, ClusterError], items: Iterable[PlanItem]) -> dict[str, ClusterError]:
    """What the server refused, by the applications that it stops."""
    if not refused:
        return {}
    known = tuple(items)
    found: dict[str, dict[Identity, ClusterError]] = {}
    for item in (item for item in known if item.identity in refused):
        for name in stopped_by(item.identity, item.application, known):
            found.setdefault(name, {})[item.identity] = refused[item.identity]
    return {name: joined(errors) for name, errors in found.items()}


def stopped_by(identity: Identity, application: str, items: Iterable[PlanItem]) -> tuple[str, ...]:
    """Whom an object that cannot be made stops: its application; with a definition also all that use it."""
    defines = _defines(identity)
    users = [
        item.application
        for item in (items if defines else ())
        if defines in {("Namespace", item.identity.namespace), ("CustomResourceDefinition", item.identity.group)}
    ]
    return tuple(dict.fromkeys(name for name in (application, *users) if name))


def _defines(identity: Identity) -> tuple[str, str] | None:
    """The namespace, or the API group of the custom kind, that others need this object for."""
    if (identity.group, identity.kind) == ("", "Namespace"):
        return "Namespace", identity.name
    if (identity.group, identity.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
        return "CustomResourceDefinition", identity.name.partition(".")[2]
    return None
