"""The gate: what blocks, what a waiver lets pass, and that nothing unknown is ever clean."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from interlock.ci.junit import FailedCase, TestReport, TestRun
from interlock.contract.evidence import Base
from interlock.contract.finding import Database, Finding, Scan, not_scanned
from interlock.contract.gate import REQUIRED, Required, Verdict, judge
from interlock.contract.models import BuildRules, GateRules, LicenceRules, Waiver
from interlock.contract.sightings import NOTHING, Known, Sighting

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
DATABASE = Database(NOW - dt.timedelta(hours=5), "sha256:" + "d" * 64)
SECRET = Finding("secret", "github-pat", "LOW", "app.py", "GitHub token", line=3)
FIXED = Finding("vulnerability", "CVE-1", "HIGH", "requirements.txt", "t", package="p", installed="1", fixed="2")
UNFIXED = replace(FIXED, id="CVE-2", fixed="")
MINOR = replace(FIXED, id="CVE-3", severity="MEDIUM")
ROOT = Finding("misconfiguration", "DS-0002", "HIGH", "Dockerfile", "root", line=2)
CODE = Finding("code", "B602", "HIGH", "app.py", "subprocess call with shell=True", line=3)
AGPL = Finding("licence", "AGPL-3.0-only", "CRITICAL", "OS Packages", "licence", package="gs")
DEFAULT = GateRules()
PASSED = TestRun(0, TestReport(("a",), (), (), 0.1, "sha256:" + "e" * 64))


def scans(*findings: Finding, **changes: Any) -> tuple[Scan, ...]:
    """The four scans; the findings and changes are the source's."""
    source = replace(Scan("source", findings=findings, database=DATABASE), **changes)
    return source, Scan("manifests"), Scan("image", database=DATABASE), Scan("code")


def verdict(
    given: tuple[Scan, ...] = (),
    *,
    tests: TestRun | None = PASSED,
    rules: GateRules = DEFAULT,
    waivers: tuple[Waiver, ...] = (),
    required: tuple[Required, ...] = REQUIRED,
    known: Known = NOTHING,
    now: dt.datetime = NOW,
    bases: tuple[Base, ...] = (),
) -> Verdict:
    return judge(
        given or scans(),
        tests,
        rules=rules,
        waivers=waivers,
        component="web",
        now=now,
        required=required,
        known=known,
        bases=bases,
    )


def waiver(finding: str, *, ends: str = "2030-12-31", component: str = "web") -> Waiver:
    text = {"finding": finding, "component": component, "reason": "not reachable here", "owner": "ada", "ends": ends}
    return Waiver.model_validate(text)


def test_what_a_build_took_from_elsewhere_is_judged_for_each_environment() -> None:
    """An image that an earlier run built too: its bases stand in its own words."""
    bases = (Base("python:3.12", "sha256:1"), Base("https://h.example/x", "", "sha256:2", "address"))
    listed = GateRules(build=BuildRules(images=("docker.io/library/python",), addresses=("https://h.example/*",)))

    assert verdict(rules=listed, bases=bases).passed
    assert verdict(rules=GateRules(build=BuildRules(images=())), bases=bases).reasons == (
        "build: policy does not let a build take the image python:3.12",
        "build: policy does not let a build take the address https://h.example/x",
    )


def test_nothing_found_passes() -> None:
    """Three scans without findings and tests that passed."""
    assert verdict() == Verdict(databases=(f"{DATABASE.digest} of 2030-06-15 07:00 UTC, 5 hours old",))
    assert verdict().passed


@pytest.mark.parametrize(
    "finding", [SECRET, FIXED, ROOT, CODE], ids=["secret", "vulnerability", "misconfiguration", "code"]
)
def test_what_policy_lists_blocks(finding: Finding) -> None:
    """By default: secrets of every severity, and HIGH or CRITICAL findings that can be mended."""
    found = verdict(scans(finding))

    assert not found.passed
    assert found.reasons == (f"source: {finding}",)


@pytest.mark.parametrize("finding", [UNFIXED, MINOR], ids=["unfixed", "medium"])
def test_what_policy_does_not_list_passes(finding: Finding) -> None:
    """Nobody can mend what has no fix, and MEDIUM is not listed."""
    assert verdict(scans(finding)).passed


def test_policy_may_be_stricter() -> None:
    """Unfixed vulnerabilities and further severities block when policy says so."""
    strict = GateRules(unfixed=True, vulnerabilities=("CRITICAL", "HIGH", "MEDIUM"))

    assert len(verdict(scans(UNFIXED, MINOR), rules=strict).reasons) == 2


def test_policy_cannot_let_secrets_pass() -> None:
    """Whatever severities it lists."""
    lax = GateRules(vulnerabilities=(), misconfigurations=(), unassessable=True)

    assert not verdict(scans(SECRET), rules=lax).passed


@pytest.mark.parametrize("named", ["CVE-1", "CVE-1@p", "CVE-1@requirements.txt"])
def test_a_waiver_lets_a_finding_pass_and_is_told(named: str) -> None:
    """By id, or by id at a package or file."""
    found = verdict(scans(FIXED), waivers=(waiver(named),))

    assert found.passed
    assert "waived by ada until 2030-12-31: not reachable here" in str(found.waived[0])


def test_a_waiver_holds_through_its_last_day() -> None:
    """It is told when that is near; on the next day it blocks again and says whose it was."""
    last = verdict(scans(FIXED), waivers=(waiver("CVE-1", ends="2030-06-15"),))
    after = verdict(scans(FIXED), waivers=(waiver("CVE-1", ends="2030-06-14"),))

    assert last.passed
    assert last.expiring[0].finding == "CVE-1"
    assert after.reasons == (f"source: {FIXED}; the waiver of ada ended on 2030-06-14",)


@pytest.mark.parametrize(("ends", "told"), [("2030-06-22", True), ("2030-06-23", False)], ids=["7 days", "8 days"])
def test_the_end_of_a_waiver_is_announced_a_week_before(ends: str, *, told: bool) -> None:
    """Not earlier: who reads it every day for a month reads it no more."""
    assert bool(verdict(scans(FIXED), waivers=(waiver("CVE-1", ends=ends),)).expiring) is told


@pytest.mark.parametrize(
    ("moment", "passes"),
    [
        ("2030-06-15T23:59:59+00:00", True),
        ("2030-06-16T00:00:00+00:00", False),
        ("2030-06-16T01:59:59+02:00", True),
        ("2030-06-15T19:00:00-05:00", False),
    ],
)
def test_days_are_those_of_utc(moment: str, *, passes: bool) -> None:
    """Wherever the host that judges is, a waiver ends at the same moment."""
    found = verdict(scans(FIXED), waivers=(waiver("CVE-1", ends="2030-06-15"),), now=dt.datetime.fromisoformat(moment))

    assert found.passed is passes


def test_the_longest_waiver_counts() -> None:
    """One that ended beside one that holds does not block."""
    assert verdict(scans(FIXED), waivers=(waiver("CVE-1", ends="2030-01-01"), waiver("CVE-1"))).passed


def test_a_waiver_is_for_its_component() -> None:
    """`*` is for all."""
    assert not verdict(scans(FIXED), waivers=(waiver("CVE-1", component="api"),)).passed
    assert verdict(scans(FIXED), waivers=(waiver("CVE-1", component="*"),)).passed


def test_a_secret_is_waived_only_at_its_place() -> None:
    """A rule's name alone would let every later secret of its kind pass."""
    assert not verdict(scans(SECRET), waivers=(waiver("github-pat"),)).passed
    assert verdict(scans(SECRET), waivers=(waiver("github-pat@app.py"),)).passed
    assert not verdict(scans(replace(SECRET, target="b.py")), waivers=(waiver("github-pat@app.py"),)).passed


# grace -----------------------------------------------------------------------------------------------


GRACE = GateRules(grace_days={"HIGH": 7})
TODAY = NOW.date()


def since(days: int, key: str = "CVE-1@p", *, gone: int = 0) -> Known:
    """What is known of a finding: first seen so many days ago, last seen `gone` days ago."""
    return Known({key: Sighting(TODAY - dt.timedelta(days=days), TODAY - dt.timedelta(days=gone))})


@pytest.mark.parametrize(("days", "passes"), [(0, True), (6, True), (7, False), (400, False)])
def test_grace_counts_from_the_first_sight(days: int, *, passes: bool) -> None:
    """Seven days of grace are the day of the first sight and six more."""
    found = verdict(scans(FIXED), rules=GRACE, known=since(days))

    assert found.passed is passes
    if passes:
        assert str(found.graced[0]).endswith(f"blocks from {TODAY + dt.timedelta(days=7 - days)} on")
    else:
        first = TODAY - dt.timedelta(days=days)
        ended = first + dt.timedelta(days=7)
        assert found.reasons == (f"source: {FIXED}; known since {first}, its grace ended on {ended}",)


def test_a_finding_that_nobody_knew_is_new_today() -> None:
    """Its grace begins, and the verdict remembers the day."""
    found = verdict(scans(FIXED), rules=GRACE)

    assert found.passed
    assert found.seen == {"CVE-1@p": Sighting(TODAY, TODAY)}


@pytest.mark.parametrize(("published", "passes"), [("2030-06-09", True), ("2030-06-08", False), ("2030-07-01", True)])
def test_what_a_release_brings_in_is_as_old_as_its_publication(published: str, *, passes: bool) -> None:
    """Grace is for what comes to light, not for an old vulnerability in a new dependency."""
    brought = replace(FIXED, published=published)

    assert verdict(scans(brought), rules=GRACE).passed is passes
    assert verdict(scans(brought), rules=GRACE, known=since(2)).passed
    assert verdict(scans(brought), rules=GRACE, known=Known(released=True)).passed


def test_without_grace_a_new_finding_blocks() -> None:
    """Grace is by severity, none unless policy gives it, and none of no days."""
    assert not verdict(scans(FIXED)).passed
    assert not verdict(scans(replace(FIXED, severity="CRITICAL")), rules=GRACE).passed
    assert not verdict(scans(FIXED), rules=GateRules(grace_days={"HIGH": 0})).passed


@pytest.mark.parametrize("finding", [SECRET, ROOT], ids=["secret", "misconfiguration"])
def test_grace_is_for_what_comes_to_light(finding: Finding) -> None:
    """What somebody has made blocks at once."""
    rules = GateRules(grace_days={"CRITICAL": 9, "HIGH": 9, "MEDIUM": 9, "LOW": 9, "UNKNOWN": 9})

    assert not verdict(scans(finding), rules=rules).passed


def test_another_version_of_the_package_gets_no_new_grace() -> None:
    """Nor another place of it: it is the same finding."""
    moved = replace(FIXED, installed="1.1", target="image", line=3)

    assert not verdict(scans(moved), rules=GRACE, known=since(7)).passed


def test_what_went_away_and_comes_back_gets_no_new_grace() -> None:
    """It is remembered for a year."""
    assert not verdict(scans(FIXED), rules=GRACE, known=since(700, gone=365)).passed
    gone = verdict(rules=GRACE, known=since(700, gone=365))
    assert not gone.seen["CVE-1@p"].present
    assert verdict(rules=GRACE, known=since(700, gone=366)).seen == {}


def test_a_first_sight_in_the_future_counts_as_today() -> None:
    """A clock that went wrong once prolongs no grace."""
    found = verdict(scans(FIXED), rules=GRACE, known=since(-30, gone=-30))

    assert found.graced[0].blocks == TODAY + dt.timedelta(days=7)


def test_a_waiver_goes_before_grace() -> None:
    """A finding stands in one list only."""
    found = verdict(scans(FIXED), rules=GRACE, waivers=(waiver("CVE-1"),))

    assert (len(found.waived), found.graced) == (1, ())


# against the release before --------------------------------------------------------------------------


def test_new_and_fixed_are_told_against_the_release_before() -> None:
    """Whether they block or not; what policy does not list is neither."""
    before = Known(before=frozenset({"CVE-1@p", "CVE-0@q"}))

    found = verdict(scans(FIXED, replace(FIXED, id="CVE-4"), MINOR), waivers=(waiver("CVE-4"),), known=before)

    assert [hit.finding.id for hit in found.new] == ["CVE-4"]
    assert found.fixed == ("CVE-0@q",)


def test_the_first_release_has_nothing_new() -> None:
    """There is nothing to compare with."""
    found = verdict(scans(FIXED))

    assert (found.new, found.fixed) == ((), ())


def test_what_was_not_scanned_is_not_fixed() -> None:
    """A finding that nobody looked for is not gone."""
    before = Known(before=frozenset({"CVE-0@q"}))

    assert verdict(scans()[:2], known=before).fixed == ()
    assert verdict((*scans()[:2], not_scanned("image", "crashed")), known=before).fixed == ()


@pytest.mark.parametrize("missing", ["source", "code", "manifests", "image"])
def test_a_missing_scan_blocks(missing: str) -> None:
    """What was not scanned is not clean."""
    left = tuple(scan for scan in scans() if scan.subject != missing)

    assert verdict(left).reasons == (f"{missing}: not scanned",)


def test_a_failed_scan_blocks_with_its_reason() -> None:
    """Also when policy lets images pass that cannot be assessed."""
    given = (*scans()[:2], not_scanned("image", "trivy was stopped after 600 s"), Scan("code"))

    found = verdict(given, rules=GateRules(unassessable=True))

    assert found.reasons == ("image: not scanned: trivy was stopped after 600 s",)


def test_what_cannot_be_assessed_blocks_unless_policy_lets_it() -> None:
    """`FROM scratch` without packages."""
    given = (*scans()[:2], Scan("image", assessed=False, doubt="no packages", database=DATABASE), Scan("code"))

    assert verdict(given).reasons[0].startswith("image: not assessable")
    allowed = verdict(given, rules=GateRules(unassessable=True))
    assert allowed.passed
    assert "image: not assessable (no packages); policy lets it pass" in allowed.notes


def test_a_denied_licence_blocks_and_can_be_waived() -> None:
    """Only where policy speaks of licences."""
    rules = GateRules(licences=LicenceRules(denied=("AGPL-*",)))
    given = (*scans()[:2], Scan("image", findings=(AGPL,), licences=True, database=DATABASE), Scan("code"))

    assert verdict(given).passed
    assert verdict(given, rules=rules).reasons == ("image: licence AGPL-3.0-only of gs, OS Packages",)
    assert verdict(given, rules=rules, waivers=(waiver("AGPL-3.0-only@gs"),)).passed


def test_licences_that_policy_asks_for_must_have_been_looked_at() -> None:
    """Policy may have changed after the scan."""
    found = verdict(scans(), rules=GateRules(licences=LicenceRules(denied=("AGPL-*",))))

    assert found.reasons == ("image: licences not scanned: policy asks for them since this scan began",)


def test_an_old_database_blocks() -> None:
    """Findings of an old database say little about today."""
    old = replace(DATABASE, updated=NOW - dt.timedelta(hours=200))

    assert verdict(scans(database=old)).reasons == (
        "source: not scanned: the vulnerability database is 200 hours old, policy allows 168",
    )


def test_a_pinned_database_is_told_not_judged() -> None:
    """The host pins it on purpose."""
    pinned = Database(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), DATABASE.digest, pinned=True)

    found = verdict(scans(database=pinned))

    assert found.passed
    assert found.notes == ("the vulnerability database is pinned to 2024-01-01; its age was not judged",)


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (None, "tests: not run"),
        (TestRun(0, None), "tests: there is no report"),
        (TestRun(None, None, "stopped after 60 s"), "tests: stopped after 60 s"),
        (replace(PASSED, exit_code=3), "tests: the test command ended with exit code 3, though no case failed"),
        (TestRun(0, TestReport((), ("b",), (), 0, "")), "tests: no test ran (0 passed, 0 failed, 1 skipped)"),
        (TestRun(0, TestReport((), (), (), 0, "")), "tests: no test ran (0 passed, 0 failed, 0 skipped)"),
        (TestRun(1, TestReport(("a",), (), (FailedCase("b", "x\ny"),), 0, "")), "tests: b failed: x"),
    ],
    ids=["none", "no report", "timeout", "exit code", "all skipped", "zero", "failed"],
)
def test_tests_must_run_and_pass(tests: TestRun | None, reason: str) -> None:
    """Anything else blocks and says why."""
    assert verdict(tests=tests).reasons == (reason,)


def test_all_reasons_are_told_at_once_in_order() -> None:
    """Secrets, then vulnerabilities, then misconfigurations; nobody has to push three times to see three."""
    found = verdict(scans(ROOT, FIXED, SECRET), tests=None)

    assert found.reasons == ("tests: not run", f"source: {SECRET}", f"source: {FIXED}", f"source: {ROOT}")


def test_a_local_check_may_go_without_an_image() -> None:
    """On a machine without Docker only sources and manifests are asked for."""
    assert verdict(scans()[:2], tests=None, required=("source", "manifests")).passed
