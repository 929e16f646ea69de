"""The gate: findings, tests and policy give a verdict with reasons. Nothing else decides what is released."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.ci.findings import DENIED, Database, Finding, Scan, Subject
from interlock.ci.junit import TestRun
from interlock.ci.licences import refuses
from interlock.contract.models import GateFile, GateRules, Waiver
from interlock.contract.repository import Repository

REQUIRED: tuple[Subject, ...] = ("source", "code", "manifests", "image")
EXPIRING_DAYS = 14


@dataclass(frozen=True)
class Hit:
    """A finding and the scan that has it."""

    subject: Subject
    finding: Finding

    def __str__(self) -> str:
        return f"{self.subject}: {self.finding}"


@dataclass(frozen=True)
class Scans:
    """What an image is judged by: its sources, itself, and what its environments would apply."""

    sources: tuple[Scan, ...]
    image: Scan
    manifests: Mapping[str, Scan] = field(default_factory=dict)

    def of(self, environment: str) -> tuple[Scan, ...]:
        return *self.sources, self.manifests[environment], self.image


@dataclass(frozen=True)
class Waived:
    hit: Hit
    waiver: Waiver

    def __str__(self) -> str:
        return f"{self.hit}; waived by {self.waiver.owner} until {self.waiver.ends}: {self.waiver.reason}"


@dataclass(frozen=True)
class Verdict:
    """Whether a component may enter an environment. `reasons` has a line for everything that stops it."""

    reasons: tuple[str, ...] = ()
    blocking: tuple[Hit, ...] = ()
    waived: tuple[Waived, ...] = ()
    expiring: tuple[Waiver, ...] = ()
    """Waivers in use that end within a fortnight."""
    notes: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    """The vulnerability databases that it rests on, with their age and digest."""

    @property
    def passed(self) -> bool:
        return not self.reasons


def judge_release(
    scans: Scans,
    tests: TestRun,
    *,
    policy: Repository,
    environments: Iterable[str],
    component: str,
    now: dt.datetime,
) -> dict[str, Verdict]:
    """The verdict on a component for each environment, by the rules and waivers of the environment repository.

    Whoever signs for a release asks this once more, with a policy that he has fetched himself.
    """
    return {
        environment: judge(
            scans.of(environment),
            tests,
            rules=policy.gate.environments.get(environment, policy.gate.rules),
            waivers=policy.waivers,
            component=component,
            now=now,
        )
        for environment in environments
    }


def judge(
    scans: Sequence[Scan],
    tests: TestRun | None,
    *,
    rules: GateRules,
    waivers: Sequence[Waiver],
    component: str,
    now: dt.datetime,
    required: Sequence[Subject] = REQUIRED,
) -> Verdict:
    """The verdict on one component for one environment.

    A scan that is missing, failed or could not assess its subject blocks, and so do tests that are missing, failed
    or none. `required` is shorter only where nothing is released: `interlock check` on a machine without Docker.
    """
    hits = [Hit(scan.subject, finding) for scan in scans for finding in scan.findings if blocks(finding, rules)]
    valid = {hit: waiver for hit in hits if (waiver := _valid(hit.finding, waivers, component, now.date()))}
    blocking = tuple(
        sorted((hit for hit in hits if hit not in valid), key=lambda hit: (hit.finding.order, hit.subject))
    )
    expiring = {waiver for waiver in valid.values() if (waiver.ends - now.date()).days <= EXPIRING_DAYS}
    reasons = (
        *_missing(scans, required),
        *(reason for scan in scans for reason in _unfit(scan, rules, now)),
        *_tests(tests, required),
        *(str(hit) + _ended(hit.finding, waivers, component) for hit in blocking),
    )
    return Verdict(
        reasons=reasons,
        blocking=blocking,
        waived=tuple(Waived(hit, waiver) for hit, waiver in valid.items()),
        expiring=tuple(sorted(expiring, key=lambda waiver: (waiver.ends, waiver.finding))),
        notes=tuple(dict.fromkeys(note for scan in scans for note in _notes(scan))),
        databases=tuple(dict.fromkeys(_database(scan.database, now) for scan in scans if scan.database)),
    )


def blocks(finding: Finding, rules: GateRules) -> bool:
    """Whether a finding stops a release when nobody waives it."""
    match finding.kind:
        case "secret":
            return True
        case "rule":
            return finding.severity == DENIED
        case "vulnerability":
            return finding.severity in rules.vulnerabilities and (bool(finding.fixed) or rules.unfixed)
        case "misconfiguration":
            return finding.severity in rules.misconfigurations
        case "code":
            return finding.severity in rules.code
        case "licence":
            return rules.licences is not None and refuses(rules.licences, finding.id)


def asks_for_licences(gate: GateFile) -> bool:
    """Whether any environment's rules say something about licences, so that they must be looked for."""
    return any(rules.licences is not None for rules in (gate.rules, *gate.environments.values()))


def waives(waiver: Waiver, finding: Finding, component: str) -> bool:
    """Whether a waiver is about this finding, whatever its end.

    It names an id, or an id and a place as `id@path`. A secret is waived only with its place: a rule's name
    alone would let every later secret of that kind pass.
    """
    names = {f"{finding.id}@{finding.target}"} if finding.kind == "secret" else _names(finding)
    return waiver.component in ("*", component) and waiver.finding in names


def _names(finding: Finding) -> set[str]:
    return {finding.id, f"{finding.id}@{finding.target}", f"{finding.id}@{finding.package}"}


def _valid(finding: Finding, waivers: Iterable[Waiver], component: str, today: dt.date) -> Waiver | None:
    """The waiver that lasts longest among those that still hold; one holds through its last day."""
    if not finding.waivable:
        return None
    found = [waiver for waiver in waivers if waives(waiver, finding, component) and today <= waiver.ends]
    return max(found, key=lambda waiver: waiver.ends, default=None)


def _ended(finding: Finding, waivers: Iterable[Waiver], component: str) -> str:
    ended = [waiver for waiver in waivers if waives(waiver, finding, component)]
    if not ended:
        return ""
    last = max(ended, key=lambda waiver: waiver.ends)
    return f"; the waiver of {last.owner} ended on {last.ends}"


def _database(database: Database, now: dt.datetime) -> str:
    hours = (now - database.updated).total_seconds() / 3600
    return f"{database.digest} of {database.updated:%Y-%m-%d %H:%M} UTC, {hours:.0f} hours old"


def _missing(scans: Iterable[Scan], required: Iterable[Subject]) -> Iterator[str]:
    there = {scan.subject for scan in scans}
    yield from (f"{subject}: not scanned" for subject in required if subject not in there)


def _unfit(scan: Scan, rules: GateRules, now: dt.datetime) -> Iterator[str]:
    if scan.failure:
        yield f"{scan.subject}: not scanned: {scan.failure}"
    elif not scan.assessed and not rules.unassessable:
        yield f"{scan.subject}: not assessable: {scan.doubt}"
    elif scan.database is not None and not scan.database.pinned:
        hours = (now - scan.database.updated).total_seconds() / 3600
        if hours > rules.database_hours:
            yield (
                f"{scan.subject}: not scanned: the vulnerability database is {hours:.0f} hours old, "
                f"policy allows {rules.database_hours}"
            )
    if scan.subject == "image" and rules.licences and not scan.licences and not scan.failure:
        yield "image: licences not scanned: policy asks for them since this scan began"


def _tests(tests: TestRun | None, required: Iterable[Subject]) -> Iterator[str]:
    if tests is None:
        if "image" in required:
            yield "tests: not run"
        return
    yield from (f"tests: {problem}" for problem in tests.problems)


def _notes(scan: Scan) -> Iterator[str]:
    yield from (f"{scan.subject}: {note}" for note in scan.notes)
    if scan.database is not None and scan.database.pinned:
        yield f"the vulnerability database is pinned to {scan.database.updated:%Y-%m-%d}; its age was not judged"
    if not scan.assessed and not scan.failure:
        yield f"{scan.subject}: not assessable ({scan.doubt}); policy lets it pass"
