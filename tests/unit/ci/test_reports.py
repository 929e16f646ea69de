"""What a release tells people: the verdict first, every finding in a row, what to do, and nothing breaks out."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

from interlock.ci.coverage import Coverage, FileCoverage
from interlock.ci.junit import FailedCase, TestReport, TestRun
from interlock.ci.reports import gate_report, release_report, results_report, scan_report
from interlock.ci.targets import Released
from interlock.contract.finding import Database, Finding, Scan, not_scanned
from interlock.contract.gate import Verdict, judge
from interlock.contract.models import GateRules, Waiver
from interlock.contract.sightings import Known, Sighting
from interlock.errors import Blocked

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
PINNED = Database(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "sha256:" + "d" * 64, pinned=True)
SECRET = Finding("secret", "github-pat", "CRITICAL", "app.py", "GitHub token", line=3)
LOW = Finding("vulnerability", "CVE-9", "LOW", "requirements.txt", "t", line=2, package="p", installed="1", fixed="2")
HIGH = Finding("vulnerability", "CVE-1", "HIGH", "requirements.txt", "t", line=1, package="q", installed="1", fixed="3")
SCANS = (
    Scan("source", findings=(SECRET, HIGH, LOW), database=PINNED, scanner="trivy 0.76.0"),
    Scan("manifests", scanner="trivy 0.76.0"),
    Scan("image", database=PINNED, scanner="trivy 0.76.0"),
    Scan("code", scanner="bandit 1.9.4"),
)
PASSED = TestRun(0, TestReport(("a",), ("c",), (), 0.1, "sha256:" + "e" * 64), seconds=1.26)
RULES = GateRules()
BUILDER = "images are built with a buildkitd, as ci.yaml says"


def test_a_scan_has_counts_and_a_line_per_finding() -> None:
    """Those that block come first; scanner and database are named, and that it is pinned."""
    report = scan_report(SCANS, component="web", rules=RULES)

    assert report.title == "Scan of web: 2 findings of 3 may block"
    assert report.tables[0].rows[0] == ("source", "done", "1", "1", "0", "1", "0", "1")
    assert [row[:4] for row in report.tables[1].rows] == [
        ("yes", "CRITICAL", "github-pat", "source: app.py:3"),
        ("yes", "HIGH", "CVE-1", "source: requirements.txt:1"),
        ("", "LOW", "CVE-9", "source: requirements.txt:2"),
    ]
    assert "trivy 0.76.0" in report.markdown
    assert "pinned by this host" in report.markdown
    json.dumps(report.data)


def test_a_failed_scan_is_loud() -> None:
    """Its reason stands where the counts would be."""
    report = scan_report((not_scanned("image", "trivy was stopped after 600 s"),), component="web", rules=RULES)

    assert report.title == "Scan of web: image not scanned"
    assert report.tables[0].rows[0][1] == "NOT SCANNED: trivy was stopped after 600 s"


def test_a_scan_of_many_findings_is_cut() -> None:
    """A page of ten thousand rows helps nobody; all of them are in the evidence."""
    many = tuple(Finding("secret", f"r{n}", "HIGH", "a", "t") for n in range(600))

    rows = scan_report((Scan("source", findings=many),), component="web", rules=RULES).tables[1].rows

    assert len(rows) == 501
    assert rows[-1][3] == "100 more"


def test_passed_tests_are_one_line() -> None:
    """Counts and seconds."""
    report = results_report(PASSED, component="web")

    assert report.title == "Tests of web: passed (1 passed, 0 failed, 1 skipped, 1.3 s)"
    assert report.tables == ()


def test_coverage_and_services_are_shown() -> None:
    """All files first, then those with the most lines that no test ran through."""
    files = (FileCoverage("a.py", 40, 38), FileCoverage("b.py", 25, 10))
    run = replace(PASSED, coverage=Coverage(files, ""), services=("r.example/db@sha256:1",))

    report = results_report(run, component="web")

    assert "covered 73.8 % of 65 lines" in report.title
    assert "no network but its services: r.example/db@sha256:1" in report.markdown
    assert report.tables[0].rows == (
        ("all files", "65", "17", "73.8 %"),
        ("b.py", "25", "15", "40.0 %"),
        ("a.py", "40", "2", "95.0 %"),
    )


def test_failed_tests_show_cases_and_log() -> None:
    """The log is a block that its lines cannot leave."""
    hostile = "``` <script>alert(1)</script>"
    failed = TestReport((), (), (FailedCase("t.test_a", "1 != 2"),), 0.1, "")

    report = results_report(TestRun(1, failed, log=(hostile,)), component="web")

    assert "FAILED" in report.title
    assert report.tables[0].rows == (("t.test_a", "1 != 2"),)
    assert f"\n    {hostile}" in report.markdown


def verdicts(*scans: Scan, waivers: tuple[Waiver, ...] = (), tests: TestRun | None = PASSED) -> dict[str, Any]:
    return {
        "dev": judge(scans, tests, rules=RULES, waivers=waivers, component="web", now=NOW),
    }


def test_a_blocked_gate_says_why_and_what_to_do() -> None:
    """Each reason once, with the environments that it closes."""
    given = verdicts(*SCANS, tests=TestRun(None, None, "stopped after 60 s"))

    report = gate_report(given | {"prod": given["dev"]}, component="web", commit="a" * 40)

    assert report.title == "Gate for web aaaaaaaaaaaa: BLOCKED for dev, prod"
    assert report.tables[0].rows == tuple(("dev, prod", reason) for reason in given["dev"].reasons)
    for what in ("secret:", "vulnerability:", "tests:", "waiver"):
        assert what in report.markdown


def test_an_open_gate_says_so_and_shows_waivers() -> None:
    """And those that end soon."""
    text = {"finding": "CVE-1", "component": "*", "reason": "not reachable", "owner": "ada", "ends": "2030-06-20"}
    clean = Scan("source", findings=(HIGH,), database=PINNED)

    report = gate_report(
        verdicts(clean, *SCANS[1:], waivers=(Waiver.model_validate(text),)), component="web", commit="a" * 40
    )

    assert report.title == "Gate for web aaaaaaaaaaaa: passed for dev"
    assert report.tables[0].rows == ((f"source: {HIGH}", "ada", "2030-06-20, ends soon", "not reachable"),)
    assert "the waiver of ada for CVE-1 ends on 2030-06-20" in report.markdown


def test_the_gate_shows_what_changed_and_what_to_raise() -> None:
    """New, in its grace, fixed, and for what blocks the version to go to, each with its place and environments."""
    clean = Scan("source", findings=(HIGH, replace(HIGH, id="CVE-2", fixed="4"), SECRET), database=PINNED)
    before = Known({"CVE-7@q": Sighting(NOW.date(), NOW.date())}, before=frozenset({"CVE-1@q", "CVE-7@q"}))

    def judged(rules: GateRules) -> Verdict:
        scans = (clean, *SCANS[1:])
        return judge(scans, PASSED, rules=rules, waivers=(), component="web", now=NOW, known=before)

    report = gate_report(
        {"dev": judged(GateRules(grace_days={"HIGH": 7})), "prod": judged(RULES)}, component="web", commit="a" * 40
    )
    tables = {table.columns[0]: table for table in report.tables}

    assert tables["raise so that nothing blocks"].rows == (
        ("q", "1", "3 (CVE-1), 4 (CVE-2)", "source: requirements.txt:1"),
    )
    assert tables["new since the last release"].rows == (
        ("github-pat", "CRITICAL", "", "", "source: app.py:3", "dev, prod"),
        ("CVE-2", "HIGH", "q 1", "4", "source: requirements.txt:1", "dev, prod"),
    )
    assert [(row[0], *row[5:]) for row in tables["in its grace"].rows] == [
        ("CVE-1", "dev", "blocks from 2030-06-22 on"),
        ("CVE-2", "dev", "blocks from 2030-06-22 on"),
    ]
    assert tables["fixed since the last release"].rows == (("CVE-7@q", "dev, prod"),)


def test_a_release_names_image_and_commit() -> None:
    """And what was released before."""
    new = Released("web", "r/web@sha256:1", ("dev",), "c" * 40, blocked=("prod",))
    old = Released("api", "r/api@sha256:2", ("dev",), "")

    report = release_report("shop", "a" * 40, (new, old), builder=BUILDER)

    assert report.title == "shop aaaaaaaaaaaa: released, but not everywhere"
    assert report.markdown.endswith("Images are built with a buildkitd, as ci.yaml says.")
    assert report.tables[0].rows == (
        ("web", "dev", "prod", "r/web@sha256:1", "cccccccccccc"),
        ("api", "dev", "none", "r/api@sha256:2", "released before"),
    )
    assert len(report.tables) == 1


def test_a_release_that_was_stopped_promises_no_deploy() -> None:
    """The last column says why under a heading that fits, once, and nobody is told to wait for CD."""
    web = Released("web", "", (), "", blocked=("dev",), failure=Blocked("web aaaa is not released to dev"))

    report = release_report("shop", "a" * 40, (web,), builder=BUILDER)

    assert report.title == "shop aaaaaaaaaaaa: not released"
    assert report.tables[0].columns[-1] == "release commit, or why there is none"
    assert report.tables[0].rows == (("web", "nowhere", "dev", "none", "web aaaa is not released to dev"),)
    assert "CD deploys" not in report.markdown
    assert web.said == "web aaaa is not released to dev"


def test_a_release_names_what_people_have_to_merge() -> None:
    """And where."""
    url = "https://forge.example/acme/e/pull/3"
    web = Released("web", "r/web@sha256:1", (), "", proposed=("prod", "stage"), pull_request=url)

    report = release_report("shop", "a" * 40, (web,), builder=BUILDER)

    assert report.title == "shop aaaaaaaaaaaa: proposed"
    assert report.tables[0].rows == (("web", "nowhere", "none", "r/web@sha256:1", "none yet"),)
    assert report.tables[1].rows == (("web", "prod, stage", url),)
