"""What is wrong with an environment's manifests, found without a cluster, for both halves: schemas, metadata, rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from interlock.contract import metadata, pods
from interlock.contract.manifest import Identity, Manifest
from interlock.contract.models import Waiver
from interlock.contract.rules import Broken, Rule, Severity, Subject, without_secrets
from interlock.contract.schema import Problem, Schema, Schemas, of_definitions
from interlock.contract.template import Origin
from interlock.contract.workloads import pods as pods_of

SCHEMA = "schema"
"""Stands for a rule's name where a manifest does not fit its schema, or has metadata that no server takes."""

PODS = "pods"
"""Stands for a rule's name where a custom kind has no pods at the places that are known."""


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with one manifest. Holds no value of it."""

    identity: Identity
    application: str
    rule: str
    severity: Severity
    message: str
    origin: Origin
    waivable: bool = True
    waiver: Waiver | None = None
    """By which it passes for a while."""
    since: str = ""
    """The older commit whose rule it breaks; empty for one of the newest."""

    @property
    def denies(self) -> bool:
        return self.severity == "deny" and self.waiver is None

    @property
    def subject(self) -> str:
        """`Deployment/shop/web`, as plans and waivers name it."""
        _, kind, namespace, name = self.identity
        return "/".join(part for part in (kind, namespace, name) if part)

    @property
    def reason(self) -> str:
        """Rule, message and place; what waives it."""
        waived = f"; waived by {self.waiver.owner} until {self.waiver.ends}" if self.waiver else ""
        return f"{self.rule}: {self.message} at {self.origin.path}:{self.origin.line}{waived}"

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


def misfits(manifests: Sequence[Manifest], schemas: Schemas) -> Iterator[Violation]:
    """Everything that a server of this version would refuse, as far as its schemas and the rules for names say."""
    defined = of_definitions(manifest.body for manifest in manifests)
    for manifest in manifests:
        schema = schemas.find(*manifest.type) or defined.get(manifest.type)
        for problem in misfit_by(schema, manifest):
            yield _violation(
                manifest, Broken(SCHEMA, "deny", str(problem), waivable=True), manifest.origin(problem.where)
            )


def misfit_by(schema: Schema | None, manifest: Manifest) -> tuple[Problem, ...]:
    """What is wrong with one manifest: by its schema, where there is one, and by what no schema says."""
    body = manifest.body
    return (*(schema.problems(body) if schema else ()), *metadata.problems(body), *pods.problems(body))


def without_schema(manifests: Iterable[Manifest], schemas: Schemas) -> tuple[tuple[str, str], ...]:
    """The kinds that nothing describes: their manifests passed unseen."""
    every = tuple(manifests)
    defined: Mapping[tuple[str, str], Schema] = of_definitions(manifest.body for manifest in every)
    kinds = {manifest.type for manifest in every}
    return tuple(sorted(kind for kind in kinds if kind not in defined and schemas.find(*kind) is None))


def subjects(manifests: Iterable[Manifest], environment: str) -> tuple[Subject, ...]:
    """For the process that judges, which is never given what a Secret holds."""
    return tuple(Subject(without_secrets(each.body), environment, each.application) for each in manifests)


def judged(rules: Iterable[Rule], manifests: Iterable[Manifest], environment: str) -> tuple[Manifest, ...]:
    """Those that a rule is about at all."""
    every, known = tuple(rules), tuple(manifests)
    kinds = {each.type for each in known}
    judged_ = {kind for kind in kinds if any(rule.about(*kind, environment) for rule in every)}
    return tuple(each for each in known if each.type in judged_)


def podless(rules: Iterable[Rule], manifests: Iterable[Manifest]) -> Iterator[Violation]:
    """Warns of objects without pods where policy/rules.yaml says that their kind has them: nothing was judged there."""
    places = tuple(dict.fromkeys(place for rule in rules for place in rule.places))
    named = {kind for kind, _ in places}
    for manifest in manifests:
        kind = f"{manifest.identity.kind}.{manifest.identity.group}"
        if kind in named and not pods_of(manifest.body, places):
            where = " and ".join(path for named_, path in places if named_ == kind)
            message = f"there is nothing at {where}, where policy/rules.yaml says that a {kind} has its pods"
            yield _violation(manifest, Broken(PODS, "warn", message, waivable=True), manifest.origin())


def violations(manifests: Sequence[Manifest], found: Iterable[tuple[int, Broken]]) -> tuple[Violation, ...]:
    """What rules said of manifests, by their index."""
    return tuple(_violation(manifests[index], broken, manifests[index].origin()) for index, broken in found)


def _violation(manifest: Manifest, broken: Broken, origin: Origin) -> Violation:
    return Violation(
        manifest.identity,
        manifest.application,
        broken.rule,
        broken.severity,
        broken.message,
        origin,
        waivable=broken.waivable,
        since=broken.since,
    )


# waivers ---------------------------------------------------------------------------------------------

Components = Mapping[str, Collection[str]]
"""By application."""


@dataclass(frozen=True)
class Policy:
    """What one commit says of manifests. `commit` is its short id, as rules are `since` it; empty for the newest."""

    rules: tuple[Rule, ...]
    waivers: tuple[Waiver, ...]
    commit: str = ""


def waived(
    found: Iterable[Violation], waivers: Collection[Waiver], components: Components, today: dt.date
) -> tuple[Violation, ...]:
    """The same, each with the waiver that lets it pass, if there is one.

    A waiver names a rule, or rule and object as `no-host-path@DaemonSet/shop/logs`, and a component of the
    application, or `*`.
    """
    return tuple(replace(each, waiver=_waiver(each, waivers, components, today)) for each in found)


def waived_by_all(
    found: Iterable[Violation], newest: Policy, older: Collection[Policy], components: Components, today: dt.date
) -> tuple[Violation, ...]:
    """The same, where no commit waives what it does itself: every commit that has a rule must waive it.

    What the newest commit's rules deny is not said a second time by older ones of the same name.
    """
    by_commit = {policy.commit: policy for policy in older}
    excused: list[Violation] = []
    for each in found:
        judges = (by_commit[each.since],) if each.since else (newest, *_sharing(older, newest, each.rule))
        waivers = [_waiver(each, policy.waivers, components, today) for policy in judges]
        if waivers[0] and None in waivers:
            excused.append(replace(each, message=f"{each.message} ({_TOO_YOUNG})"))
        else:
            excused.append(replace(each, waiver=waivers[0]))
    denied = {(each.identity, each.rule) for each in excused if each.denies and not each.since}
    return tuple(each for each in excused if not each.since or (each.identity, each.rule) not in denied)


_TOO_YOUNG = "its waiver counts only once a commit that has it is deployed: commit the waiver by itself first"


def _sharing(older: Iterable[Policy], newest: Policy, name: str) -> tuple[Policy, ...]:
    """The older ones that have the very rule of this name which the newest has."""
    return tuple(each for each in older if any(rule.name == name and rule in newest.rules for rule in each.rules))


def _waiver(violation: Violation, waivers: Iterable[Waiver], components: Components, today: dt.date) -> Waiver | None:
    if not violation.waivable:
        return None
    names = {violation.rule, f"{violation.rule}@{violation.subject}"}
    mine = {"*", *components.get(violation.application, ())}
    fitting = [each for each in waivers if each.finding in names and each.component in mine and today <= each.ends]
    return max(fitting, key=lambda each: each.ends, default=None)
