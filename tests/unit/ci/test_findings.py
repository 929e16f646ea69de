"""Reading Trivy's JSON: findings in our words, and nothing less than a whole report."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from interlock.ci.findings import CONTENTS, read_canary, read_contents, read_database, read_folder, read_image
from interlock.contract.finding import Database, Finding
from interlock.errors import ScanFailed
from tests.unit.ci.reports import DOCKERFILE, LOCK_FILE, SECRET, SOURCE_FILE, SYSTEM, VULNERABILITY, folder_report
from tests.unit.ci.reports import image_report as image

DATABASE = Database(dt.datetime(2030, 1, 1, tzinfo=dt.UTC), "sha256:" + "d" * 64)


def test_findings_name_file_line_package_and_fix() -> None:
    """Each kind is read with what a person needs to mend it, secrets first."""
    scan = read_folder(folder_report(LOCK_FILE, DOCKERFILE, SOURCE_FILE), subject="source")

    assert [str(finding) for finding in scan.findings] == [
        "secret github-pat in app.py:3: GitHub token",
        "MEDIUM CVE-2023-32681 in requests 2.30.0 (fixed in 2.31.0), requirements.txt:7",
        "HIGH DS-0002 in Dockerfile:2: Specify at least 1 USER command",
    ]
    assert scan.scanner == "trivy 0.76.0"
    assert scan.assessed


@pytest.mark.parametrize(
    ("told", "read"), [("2023-05-26T18:15:00Z", "2023-05-26"), ("2023-05-26", "2023-05-26"), ("", "")]
)
def test_the_day_of_publication_is_read(told: str, read: str) -> None:
    """Where the database tells it."""
    vulnerability = {**VULNERABILITY, "PublishedDate": told}

    scan = read_folder(folder_report({**LOCK_FILE, "Vulnerabilities": [vulnerability]}), subject="source")

    assert scan.findings[0].published == read


def test_a_bill_of_materials_is_read_as_its_image() -> None:
    """Under the image's name; a report on anything else is none."""
    system = {"Family": "debian", "Name": "12.15"}
    result = {**SYSTEM, "Target": f"{CONTENTS} (debian 12.15)", "Vulnerabilities": [VULNERABILITY]}
    report = image(result, system=system).replace(b'"container_image"', b'"cyclonedx"')

    scan = read_contents(report, database=DATABASE)

    assert (scan.subject, scan.findings[0].target, scan.assessed) == ("image", "image (debian 12.15)", True)
    assert not read_contents(report, database=DATABASE, covered=False).assessed
    with pytest.raises(ScanFailed, match="is about a container_image"):
        read_contents(image(result, system=system), database=DATABASE)


def test_an_image_is_named_without_the_place_of_its_archive() -> None:
    """What we call the archive on disk tells nobody anything."""
    report = image({**SYSTEM, "Vulnerabilities": [VULNERABILITY]}, system={"Family": "debian", "Name": "12.15"})

    scan = read_image(report, database=DATABASE)

    assert scan.findings[0].target == "image (debian 12.15)"
    assert scan.image_id == "sha256:" + "1" * 64
    assert scan.packages == 1


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (b"", "Invalid JSON"),
        (folder_report(LOCK_FILE)[:-40], "Invalid JSON"),
        (b"{}", "SchemaVersion"),
        (folder_report(SchemaVersion=3), "SchemaVersion"),
        (folder_report(Results={}), "Results"),
        (folder_report({**SOURCE_FILE, "Secrets": [{**SECRET, "Severity": "FATAL"}]}), "Severity"),
        (folder_report({"Class": "secret"}), "Target"),
        (folder_report(ArtifactType="container_image"), "about a container_image"),
    ],
    ids=["empty", "cut off", "nothing", "other schema", "results", "severity", "no target", "other artifact"],
)
def test_half_a_report_is_no_report(report: bytes, said: str) -> None:
    """Whatever is missing or of another form is ScanFailed, never a clean scan."""
    with pytest.raises(ScanFailed, match=said):
        read_folder(report, subject="source")


def test_a_configuration_without_a_verdict_is_not_scanned() -> None:
    """A Dockerfile that the scanner passed over fails the scan."""
    with pytest.raises(ScanFailed, match=r"no verdict on build/Dockerfile of the source"):
        read_folder(
            folder_report(DOCKERFILE), subject="source", configurations=frozenset({"Dockerfile", "build/Dockerfile"})
        )


def test_an_image_without_system_and_packages_is_not_assessed() -> None:
    """Trivy finds nothing in `FROM scratch` and says so with rc 0 and no results."""
    assert not read_image(image(Results=None), database=DATABASE).assessed
    assert read_image(image(LOCK_FILE), database=DATABASE).assessed


DEBIAN: dict[str, Any] = {"Family": "debian", "Name": "12.15"}


@pytest.mark.parametrize(
    ("report", "given", "doubt"),
    [
        (image(Results=None, system=DEBIAN), {}, "it says that it is debian 12.15, and has no packages of that"),
        (
            image(LOCK_FILE),
            {"package_lists": {"deb": "var/lib/dpkg/status"}},
            "it has packages in var/lib/dpkg/status, which the scanner does not list",
        ),
        (image(SYSTEM, system=DEBIAN | {"EOSL": True}), {}, "debian 12.15 gets no security fixes any more"),
        (
            image(SYSTEM, system=DEBIAN),
            {"covered": False},
            "the vulnerability database knows nothing about debian 12.15",
        ),
        (image(SYSTEM, system={"Family": "own", "Name": "1"}), {}, "the scanner knows no vulnerabilities of own 1"),
        (
            image(SYSTEM, LOCK_FILE, system=DEBIAN),
            {"package_lists": {"deb": "var/lib/dpkg/status", "rpm": "var/lib/rpm/Packages"}},
            "it has packages in var/lib/rpm/Packages, which are none of debian 12.15",
        ),
    ],
    ids=["no packages", "hidden packages", "ended", "unknown release", "unknown system", "another's packages"],
)
def test_an_image_whose_packages_cannot_be_judged_is_not_assessed(
    report: bytes, given: dict[str, Any], doubt: str
) -> None:
    """No vulnerability is known because nobody looked, or nobody publishes any: the reason is told."""
    scan = read_image(report, database=DATABASE, **given)

    assert not scan.assessed
    assert scan.doubt == doubt


def test_a_known_system_with_packages_is_assessed() -> None:
    """Also when its package database was seen in a layer."""
    scan = read_image(image(SYSTEM, system=DEBIAN), database=DATABASE, package_lists={"deb": "var/lib/dpkg/status"})

    assert scan.assessed


def test_licences_are_read() -> None:
    """With the package that has them, and the packages that have none."""
    licence = {"Name": "AGPL-3.0-only", "Severity": "CRITICAL", "PkgName": "gs", "Link": "", "FilePath": ""}
    report = image({"Target": "OS Packages", "Class": "license", "Licenses": [licence]}, SYSTEM)

    scan = read_image(report, database=DATABASE, licences=True)

    assert scan.licences
    assert [str(finding) for finding in scan.findings] == [
        "licence AGPL-3.0-only of gs, OS Packages",
        "licence unknown of requests 2.30.0, image (debian 12.15)",
    ]


def test_copies_are_told_under_the_names_of_what_they_are_of() -> None:
    """And count for secrets only; a file of the tree cannot take a copy's name."""
    report = folder_report(
        {**SOURCE_FILE, "Target": "overlooked/0.txt"},
        {**SOURCE_FILE, "Target": "source/overlooked/0.txt"},
        {**LOCK_FILE, "Target": "overlooked/0.txt"},
    )

    scan = read_folder(report, subject="source", aliases={"overlooked/0.txt": "logo.svg"})

    assert {finding.place for finding in scan.findings} == {"logo.svg:3", "overlooked/0.txt:3"}


def test_a_scan_that_does_not_find_its_canary_fails() -> None:
    """And the canary is no finding of anybody's."""
    laid = {**SOURCE_FILE, "Target": "canary/token.txt"}

    assert read_folder(folder_report(laid), subject="source", canary=frozenset({"github-pat"})).findings == ()
    with pytest.raises(ScanFailed, match="did not find DS-0002"):
        read_folder(folder_report(laid), subject="source", canary=frozenset({"github-pat", "DS-0002"}))


def test_an_image_report_must_name_its_image() -> None:
    """Without an id nothing could be compared with what was pushed."""
    with pytest.raises(ScanFailed, match="about no image"):
        read_image(image(SYSTEM, Metadata={}), database=DATABASE)


def test_the_canary_proves_the_database() -> None:
    """A database that does not know an old vulnerability knows nothing."""
    report = folder_report(LOCK_FILE, ArtifactType="cyclonedx")

    assert read_canary(report, vulnerability="CVE-2023-32681") == {"CVE-2023-32681"}

    with pytest.raises(ScanFailed, match="does not know CVE-2000-1"):
        read_canary(report, vulnerability="CVE-2000-1")
    with pytest.raises(ScanFailed, match="does not know"):
        read_canary(folder_report(ArtifactType="cyclonedx"), vulnerability="CVE-2023-32681")


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"Version": 1, "UpdatedAt": "2030-01-01T00:00:00Z"}', b'{"Version": 2}', b"[]"]
)
def test_a_strange_database_is_refused(text: bytes) -> None:
    """Its age must be known."""
    with pytest.raises(ScanFailed, match=r"metadata\.json is not whole"):
        read_database(text, digest=DATABASE.digest, pinned=False)


def test_the_databases_age_is_read() -> None:
    """UpdatedAt with its zone."""
    found = read_database(b'{"Version": 2, "UpdatedAt": "2030-01-01T00:00:00Z"}', digest=DATABASE.digest, pinned=False)

    assert found == DATABASE


def test_passed_checks_are_no_findings() -> None:
    """Only what failed is a finding."""
    passed = {**DOCKERFILE, "Misconfigurations": [{"ID": "DS-0001", "Severity": "HIGH", "Status": "PASS"}]}

    assert read_folder(folder_report(passed), subject="source").findings == ()


def test_links_go_to_the_web_only() -> None:
    """A link of another scheme could run something on a page."""
    hostile = {**LOCK_FILE, "Vulnerabilities": [{**VULNERABILITY, "PrimaryURL": "javascript:alert(1)"}]}

    assert read_folder(folder_report(hostile), subject="source").findings[0].link == ""


def test_equal_findings_are_one() -> None:
    """Trivy repeats a finding per layer."""
    scan = read_folder(folder_report(SOURCE_FILE, SOURCE_FILE), subject="source")

    assert scan.findings == (Finding("secret", "github-pat", "CRITICAL", "app.py", "GitHub token", line=3),)
