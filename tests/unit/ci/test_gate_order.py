"""Policies have an order: whatever a stricter one lets pass, a looser one lets pass too."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci.junit import TestReport, TestRun
from interlock.contract.finding import KINDS, SEVERITIES, Database, Finding, Scan, Subject
from interlock.contract.gate import judge
from interlock.contract.models import GateRules, LicenceRules, Severity, Waiver
from interlock.contract.sightings import Known, Sighting

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
PASSED = TestRun(0, TestReport(("a",), (), (), 0.1, "sha256:" + "e" * 64))
SUBJECTS: tuple[Subject, ...] = ("source", "code", "manifests", "image")
IDS = ("A-1", "A-2", "A-3")

severities = st.sampled_from(SEVERITIES)
days = st.integers(-40, 40).map(lambda offset: NOW.date() + dt.timedelta(days=offset))
findings = st.builds(
    Finding,
    kind=st.sampled_from(KINDS),
    id=st.sampled_from(IDS),
    severity=severities,
    target=st.sampled_from(("a.txt", "b.txt")),
    title=st.just("t"),
    package=st.sampled_from(("", "p", "q")),
    fixed=st.sampled_from(("", "2")),
    waivable=st.booleans(),
)
databases = st.none() | st.builds(
    Database,
    updated=st.integers(0, 400).map(lambda hours: NOW - dt.timedelta(hours=hours)),
    digest=st.just("sha256:0"),
    pinned=st.booleans(),
)
scans = st.tuples(
    *(
        st.builds(
            Scan,
            subject=st.just(subject),
            assessed=st.booleans(),
            failure=st.sampled_from(("", "", "crashed")),
            findings=st.lists(findings, max_size=4).map(tuple),
            database=databases,
            licences=st.booleans(),
        )
        for subject in SUBJECTS
    )
)
waivers = st.builds(
    Waiver,
    finding=st.sampled_from((*IDS, "A-1@a.txt", "A-2@p")),
    component=st.sampled_from(("web", "*", "api")),
    reason=st.just("not reachable"),
    owner=st.just("ada"),
    ends=days,
)
seen = st.dictionaries(
    st.sampled_from([f"{name}@{place}" for name in IDS for place in ("p", "q", "a.txt")]),
    days.map(lambda day: Sighting(day, day)),
)
licences = st.builds(LicenceRules, denied=st.lists(st.sampled_from(IDS)).map(tuple), unknown=st.booleans())
graces = st.dictionaries(severities, st.integers(0, 40))


@st.composite
def rules(draw: st.DrawFn) -> GateRules:
    lists = st.lists(severities, unique=True).map(tuple)
    return GateRules(
        vulnerabilities=draw(lists),
        misconfigurations=draw(lists),
        code=draw(lists),
        licences=draw(st.none() | licences),
        unfixed=draw(st.booleans()),
        unassessable=draw(st.booleans()),
        database_hours=draw(st.integers(1, 400)),
        grace_days=draw(graces),
    )


@st.composite
def stricter(draw: st.DrawFn, loose: GateRules) -> GateRules:
    """Rules that ask at least as much in every respect."""

    def more(listed: tuple[Severity, ...]) -> tuple[Severity, ...]:
        return tuple(dict.fromkeys((*listed, *draw(st.lists(severities)))))

    def denies_more(listed: LicenceRules) -> LicenceRules:
        other = draw(licences)
        return LicenceRules(denied=(*listed.denied, *other.denied), unknown=listed.unknown and other.unknown)

    return GateRules(
        vulnerabilities=more(loose.vulnerabilities),
        misconfigurations=more(loose.misconfigurations),
        code=more(loose.code),
        licences=draw(st.none() | licences) if loose.licences is None else denies_more(loose.licences),
        unfixed=loose.unfixed or draw(st.booleans()),
        unassessable=loose.unassessable and draw(st.booleans()),
        database_hours=draw(st.integers(1, loose.database_hours)),
        grace_days={each: draw(st.integers(0, most)) for each, most in loose.grace_days.items()},
    )


@settings(deadline=None)  # the machine may be busy
@given(data=st.data(), given_scans=scans, known=seen.map(Known), loose=rules(), allowed=st.lists(waivers, max_size=4))
def test_a_stricter_policy_never_lets_pass_what_a_looser_one_blocks(
    data: st.DataObject, given_scans: tuple[Scan, ...], known: Known, loose: GateRules, allowed: list[Waiver]
) -> None:
    """Fewer waivers, more severities, less grace, fresher databases: every hit that blocked blocks still."""
    strict = data.draw(stricter(loose))
    fewer = [waiver for waiver in allowed if data.draw(st.booleans())]
    common: dict[str, Any] = {"component": "web", "now": NOW, "known": known}

    one = judge(given_scans, PASSED, rules=loose, waivers=allowed, **common)
    other = judge(given_scans, PASSED, rules=strict, waivers=fewer, **common)

    assert set(one.blocking) <= set(other.blocking)
    assert one.passed or not other.passed


@settings(deadline=None)  # the machine may be busy
@given(given_scans=scans, known=seen.map(Known), policy=rules(), allowed=st.lists(waivers, max_size=4))
def test_every_finding_that_counts_stands_in_one_list(
    given_scans: tuple[Scan, ...], known: Known, policy: GateRules, allowed: list[Waiver]
) -> None:
    """Blocking, waived or in its grace, and remembered since a day that is not later than today."""
    found = judge(given_scans, PASSED, rules=policy, waivers=allowed, component="web", now=NOW, known=known)
    lists = [list(found.blocking), [each.hit for each in found.waived], [each.hit for each in found.graced]]
    hits = [hit for each in lists for hit in each]

    assert len(hits) == len(set(hits))
    assert {key for key, each in found.seen.items() if each.present} == {hit.finding.key for hit in hits}
    assert all(each.first <= NOW.date() for each in found.seen.values() if each.present)
