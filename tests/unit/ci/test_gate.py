"""The gate: what blocks, what a waiver lets pass, and that nothing unknown is ever clean."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from interlock.ci.findings import Database, Finding, Scan, Subject, not_scanned
from interlock.ci.gate import Verdict, judge
from interlock.ci.junit import FailedCase, TestReport, TestRun
from interlock.contract.models import GateRules, LicenceRules, Waiver

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
    required: tuple[Subject, ...] = ("source", "code", "manifests", "image"),
) -> Verdict:
    return judge(given or scans(), tests, rules=rules, waivers=waivers, component="web", now=NOW, required=required)


def waiver(finding: str, *, ends: str = "2030-12-31", component: str = "web") -> Waiver:
    text = {"finding": finding, "component": component, "reason": "not reachable here", "owner": "ada", "ends": ends}
    return Waiver.model_validate(text)


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
