"""The gate: findings, tests and policy give a verdict with reasons. Nothing else decides what is released.

CI asks it before a release, its signer before a signature, CD before anything new is deployed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from interlock.contract.build_sources import is_allowed
from interlock.contract.evidence import Base
from interlock.contract.finding import DENIED, Database, Finding, Scan, Subject
from interlock.contract.licences import refuses
from interlock.contract.models import BuildRules, GateRules, Waiver
from interlock.contract.sightings import NOTHING, Known, Sighting

Required = Subject | Literal["tests"]
REQUIRED: tuple[Required, ...] = ("source", "code", "manifests", "image", "tests")
NOT_SCANNED = "not scanned"
"""What reasons call that which is neither clean nor dirty."""
EXPIRING_DAYS = 7
"""A waiver's end is announced so long before."""


@dataclass(frozen=True)
class Hit:
    """A finding that policy lists, and the scan that has it."""

    subject: Subject
    finding: Finding

    @property
    def order(self) -> tuple[object, ...]:
        return self.finding.order, self.subject

    def __str__(self) -> str:
        return f"{self.subject}: {self.finding}"


class Tested(Protocol):
    """What came of running a component's tests."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps the run from counting as passed."""


@dataclass(frozen=True)
class Waived:
    hit: Hit
    waiver: Waiver

    def __str__(self) -> str:
        return f"{self.hit}; waived by {self.waiver.owner} until {self.waiver.ends}: {self.waiver.reason}"


@dataclass(frozen=True)
class Graced:
    """A vulnerability that came to light lately, and the first day (UTC) on which it blocks."""

    hit: Hit
    first: dt.date
    blocks: dt.date

    def __str__(self) -> str:
        return f"{self.hit}; known since {self.first}, blocks from {self.blocks} on"


@dataclass(frozen=True)
class Verdict:
    """Whether a component may enter an environment. `reasons` has a line for everything that stops it."""

    reasons: tuple[str, ...] = ()
    blocking: tuple[Hit, ...] = ()
    waived: tuple[Waived, ...] = ()
    graced: tuple[Graced, ...] = ()
    expiring: tuple[Waiver, ...] = ()
    """Waivers in use that end within a week."""
    new: tuple[Hit, ...] = ()
    """Which the release before did not have. Empty when there is none to compare with."""
    fixed: tuple[str, ...] = ()
    """Keys of what the release before had, and this has no more. Empty when not all was scanned."""
    notes: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    """The vulnerability databases that it rests on, with their age and digest."""
    seen: Mapping[str, Sighting] = field(default_factory=dict)
    """What is known of the component's findings from now on."""

    @property
    def passed(self) -> bool:
        return not self.reasons


def is_passing(reasons: Iterable[str]) -> bool:
    """Whether something was not scanned, so that another run may come to another verdict."""
    unscanned = tuple(f"{subject}: {NOT_SCANNED}" for subject in REQUIRED)
    return any(reason.startswith(unscanned) for reason in reasons)


def judge(
    scans: Sequence[Scan],
    tests: Tested | None,
    *,
    rules: GateRules,
    waivers: Sequence[Waiver],
    component: str,
    now: dt.datetime,
    required: Sequence[Required] = REQUIRED,
    known: Known = NOTHING,
    bases: Sequence[Base] | None = (),
) -> Verdict:
    """The verdict on one component for one environment. Days are those of UTC.

    A scan that is missing, failed or could not assess its subject blocks, and so do tests that are missing, failed
    or none. `required` is shorter where nothing is released: `interlock check` without Docker, and rescans.
    """
    today = now.astimezone(dt.UTC).date()
    found = {Hit(scan.subject, finding) for scan in scans for finding in scan.findings if blocks(finding, rules)}
    hits = tuple(sorted(found, key=lambda hit: hit.order))
    seen = known.with_seen((hit.finding for hit in hits), today)
    waived = {hit: waiver for hit in hits if (waiver := _valid(hit.finding, waivers, component, today))}
    graced = {hit: ends for hit in hits if today < (ends := _grace(hit.finding, seen, rules)) and hit not in waived}
    blocking = tuple(hit for hit in hits if hit not in waived and hit not in graced)
    expiring = {waiver for waiver in waived.values() if (waiver.ends - today).days <= EXPIRING_DAYS}
    reasons = (
        *_missing(scans, required),
        *(reason for scan in scans for reason in _unfit(scan, rules, now)),
        *_tests(tests, required),
        *_bases(bases, rules.build),
        *(f"{hit}{_ended(hit.finding, waivers, component)}{_overdue(hit.finding, seen, rules)}" for hit in blocking),
    )
    return Verdict(
        reasons=reasons,
        blocking=blocking,
        waived=tuple(Waived(hit, waiver) for hit, waiver in waived.items()),
        graced=tuple(Graced(hit, seen[hit.finding.key].first, ends) for hit, ends in graced.items()),
        expiring=tuple(sorted(expiring, key=lambda waiver: (waiver.ends, waiver.finding))),
        new=() if known.before is None else tuple(hit for hit in hits if hit.finding.key not in known.before),
        fixed=_fixed(known, hits) if _all_scanned(scans) else (),
        notes=tuple(dict.fromkeys(note for scan in scans for note in _notes(scan))),
        databases=tuple(dict.fromkeys(_database(scan.database, now) for scan in scans if scan.database)),
        seen=seen,
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


def _fixed(known: Known, hits: Iterable[Hit]) -> tuple[str, ...]:
    return tuple(sorted((known.before or frozenset()) - {hit.finding.key for hit in hits}))


def _all_scanned(scans: Iterable[Scan]) -> bool:
    return {scan.subject for scan in scans if not scan.failure} >= {*REQUIRED} - {"tests"}


def _grace(finding: Finding, seen: Mapping[str, Sighting], rules: GateRules) -> dt.date:
    """The day from which it blocks. Only vulnerabilities come to light; everything else somebody has made."""
    first = seen[finding.key].first
    days = rules.grace_days.get(finding.severity, 0) if finding.kind == "vulnerability" else 0
    return first + dt.timedelta(days=days)


def _overdue(finding: Finding, seen: Mapping[str, Sighting], rules: GateRules) -> str:
    first, ended = seen[finding.key].first, _grace(finding, seen, rules)
    return f"; known since {first}, its grace ended on {ended}" if ended > first else ""


def _missing(scans: Iterable[Scan], required: Iterable[Required]) -> Iterator[str]:
    there = {"tests", *(scan.subject for scan in scans)}
    yield from (f"{subject}: {NOT_SCANNED}" for subject in required if subject not in there)


def _unfit(scan: Scan, rules: GateRules, now: dt.datetime) -> Iterator[str]:
    if scan.failure:
        yield f"{scan.subject}: {NOT_SCANNED}: {scan.failure}"
    elif not scan.assessed and not rules.unassessable:
        yield f"{scan.subject}: not assessable: {scan.doubt}"
    elif scan.database is not None and not scan.database.pinned:
        hours = (now - scan.database.updated).total_seconds() / 3600
        if hours > rules.database_hours:
            yield (
                f"{scan.subject}: {NOT_SCANNED}: the vulnerability database is {hours:.0f} hours old, "
                f"policy allows {rules.database_hours}"
            )
    if scan.subject == "image" and rules.licences and not scan.licences and not scan.failure:
        yield "image: licences not scanned: policy asks for them since this scan began"


def _tests(tests: Tested | None, required: Iterable[Required]) -> Iterator[str]:
    if tests is None:
        if "tests" in required:
            yield "tests: not run"
        return
    yield from (f"tests: {problem}" for problem in tests.problems)


def _bases(bases: Iterable[Base] | None, rules: BuildRules) -> Iterator[str]:
    """None: whoever built it did not tell us."""
    if bases is None and rules.images is not None:
        yield "build: what the image was built from is not known, and policy says what that may be"
    for base in bases or ():
        if not is_allowed(base.kind, base.name, rules):
            yield f"build: policy does not let a build take the {base.kind} {base.name}"


def _notes(scan: Scan) -> Iterator[str]:
    yield from (f"{scan.subject}: {note}" for note in scan.notes)
    if scan.database is not None and scan.database.pinned:
        yield f"the vulnerability database is pinned to {scan.database.updated:%Y-%m-%d}; its age was not judged"
    if not scan.assessed and not scan.failure:
        yield f"{scan.subject}: not assessable ({scan.doubt}); policy lets it pass"
