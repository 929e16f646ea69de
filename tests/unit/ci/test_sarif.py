"""Findings as SARIF: valid by the published schema, at a place that an editor can open, and no links from outside."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci.junit import TestReport, TestRun
from interlock.ci.sarif import SCHEMA, Judged, document
from interlock.contract.finding import KINDS, SEVERITIES, Database, Finding, Scan, Subject, not_scanned
from interlock.contract.gate import judge
from interlock.contract.models import GateRules, Waiver

PUBLISHED = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text())
"""By OASIS Open: SARIF 2.1.0 with errata 01, unchanged."""
VALIDATOR = jsonschema_rs.Draft4Validator(PUBLISHED)
NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
DATABASE = Database(NOW, "sha256:" + "d" * 64)
PASSED = TestRun(0, TestReport(("a",), (), (), 0.1, "sha256:" + "e" * 64))
LOCK = Finding(
    kind="vulnerability",
    id="CVE-1",
    severity="HIGH",
    target="requirements.txt",
    title="a leak",
    line=3,
    package="p",
    installed="1",
    fixed="2",
    link="https://example.org/CVE-1",
)
ROOT = Finding("misconfiguration", "DS-2", "HIGH", "Dockerfile", "runs as root", line=2)
IMAGE = replace(LOCK, id="CVE-2", target="image (debian 12)", line=None)
RULE = Finding("rule", "no-host-path", "HIGH", "dev/shop", "at x.yaml:3", package="DaemonSet/shop/logs")


def judged(*scans: Scan, waivers: tuple[Waiver, ...] = (), rules: GateRules | None = None) -> Judged:
    """One component in two environments, by the same rules."""
    verdict = judge(
        scans, PASSED, rules=rules or GateRules(), waivers=waivers, component="web", now=NOW, required=("source",)
    )
    return Judged("web", "deploy/Dockerfile", scans, {"dev": verdict, "prod": verdict})


def run(*scans: Scan, waivers: tuple[Waiver, ...] = (), rules: GateRules | None = None) -> dict[str, Any]:
    """The one run of the log, which is valid."""
    made = document([judged(*scans, waivers=waivers, rules=rules)], version="1.0.0")
    VALIDATOR.validate(made)
    (found,) = made["runs"]
    return dict(found)


def test_the_schema_is_the_one_that_is_named() -> None:
    """Readers validate by it."""
    assert PUBLISHED["id"] == SCHEMA
    assert not VALIDATOR.is_valid({"version": "2.1.0", "runs": [{}]})


def test_nothing_found_is_a_valid_log() -> None:
    """A forge then closes what was open."""
    assert run(Scan("source", database=DATABASE))["results"] == []
    VALIDATOR.validate(document([], version="1.0.0"))


def test_a_finding_has_its_line_its_rule_and_what_to_do() -> None:
    """What blocks is an error."""
    found = run(Scan("source", findings=(LOCK,), database=DATABASE))
    (result,) = found["results"]
    (rule,) = found["tool"]["driver"]["rules"]

    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("CVE-1", 0, "error")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "requirements.txt", "uriBaseId": "SRCROOT"},
        "region": {"startLine": 3},
    }
    assert result["message"]["text"].endswith(". Blocks for dev, prod. Raise p to 2")
    assert rule["helpUri"] == "https://example.org/CVE-1"
    assert rule["properties"]["security-severity"] == "8.0"


@pytest.mark.parametrize(
    ("subject", "finding", "place", "name"),
    [
        ("image", IMAGE, {"uri": "deploy/Dockerfile", "uriBaseId": "SRCROOT"}, "image (debian 12): p"),
        ("manifests", RULE, {"uri": "dev/shop", "uriBaseId": "RENDERED"}, "dev/shop: DaemonSet/shop/logs"),
    ],
)
def test_what_lies_in_no_source_file_has_a_place_all_the_same(
    subject: Subject, finding: Finding, place: dict[str, str], name: str
) -> None:
    """An image's findings are shown at its Dockerfile, a manifest's at the rendered object."""
    (result,) = run(Scan(subject, findings=(finding,), database=DATABASE))["results"]
    (location,) = result["locations"]

    assert location["physicalLocation"]["artifactLocation"] == place
    assert location["logicalLocations"] == [{"fullyQualifiedName": name}]


def test_a_path_is_written_as_a_reference() -> None:
    """Blanks, signs with a meaning and other scripts are escaped, folders stay folders."""
    (result,) = run(Scan("source", findings=(replace(LOCK, target="a b/ü#?:%.txt"),)))["results"]

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/%C3%BC%23%3F%3A%25.txt"


def test_what_is_waived_is_suppressed_with_its_reason() -> None:
    """A forge shows it as dismissed, by whom and until when."""
    text = {"finding": "DS-2", "component": "web", "reason": "needs port 80", "owner": "ada", "ends": "2030-12-31"}

    (result,) = run(Scan("source", findings=(ROOT,)), waivers=(Waiver.model_validate(text),))["results"]

    assert result["level"] == "warning"
    assert result["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "needs port 80 (waived by ada until 2030-12-31)"}
    ]


def test_what_is_in_its_grace_says_when_it_blocks() -> None:
    """A warning that tells a day."""
    (result,) = run(Scan("source", findings=(LOCK,)), rules=GateRules(grace_days={"HIGH": 3}))["results"]

    assert result["level"] == "warning"
    assert "Came to light lately: blocks from 2030-06-18 on" in result["message"]["text"]


def test_a_scan_that_failed_is_told() -> None:
    """A log without results would else be taken for clean."""
    (invocation,) = run(not_scanned("source", "trivy was stopped after 600 s"))["invocations"]

    assert not invocation["executionSuccessful"]
    assert [each["message"]["text"] for each in invocation["toolExecutionNotifications"]] == [
        "source: not scanned: trivy was stopped after 600 s"
    ]


def test_text_from_outside_makes_no_link() -> None:
    """A title may come from anywhere."""
    hostile = replace(ROOT, title="[click](https://evil.example) \\[x]")

    (result,) = run(Scan("source", findings=(hostile,)))["results"]

    assert "\\[click\\](https://evil.example) \\\\\\[x\\]" in result["message"]["text"]


def test_a_moved_line_is_the_same_finding() -> None:
    """Forges follow it by its fingerprint."""
    one, other = (run(Scan("source", findings=(replace(LOCK, line=line),)))["results"][0] for line in (3, 9))

    assert one["partialFingerprints"] == other["partialFingerprints"]


SUBJECTS: tuple[Subject, ...] = ("source", "code", "manifests", "image")
texts = st.text(max_size=40)
findings = st.builds(
    Finding,
    kind=st.sampled_from(KINDS),
    id=st.text(min_size=1, max_size=20),
    severity=st.sampled_from(SEVERITIES),
    target=texts,
    title=texts,
    line=st.none() | st.integers(1, 1_000_000),
    package=texts,
    fixed=texts,
    link=st.sampled_from(("", "https://example.org/a?b=c")),
)


@settings(deadline=None)  # the machine may be busy
@given(found=st.lists(findings, max_size=6), subject=st.sampled_from(SUBJECTS))
def test_whatever_was_found_the_log_is_valid(found: list[Finding], subject: Subject) -> None:
    """Paths with blanks and quotes, empty texts, names in every script."""
    assert len(run(Scan(subject, findings=tuple(found), database=DATABASE))["results"]) == len(set(found))
