"""What CI says about an image, and what others find where."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from interlock.ci.coverage import Coverage, FileCoverage
from interlock.ci.credentials import Probe
from interlock.ci.evidence import Facts, for_environment, for_registry, statements
from interlock.ci.gate import Scans
from interlock.ci.junit import TestReport, TestRun
from interlock.ci.sbom import of_contents, require_about
from interlock.contract import evidence
from interlock.contract.evidence import Attached, Base, Statement
from interlock.contract.finding import Database, Finding, Scan
from interlock.contract.gate import Verdict, judge
from interlock.contract.models import GateRules, Source
from interlock.errors import FormatError, ScanFailed
from tasks.ci.scanner import Contents

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
IMAGE = f"r.example/shop/web@sha256:{'1' * 64}"
SCANNER = "trivy 0.76.0"
PINNED = Database(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "sha256:" + "d" * 64, pinned=True)
LOW = Finding("vulnerability", "CVE-9", "LOW", "requirements.txt", "t", line=2, package="p", installed="1", fixed="2")
SCANS = Scans(
    sources=(
        Scan("source", findings=(LOW,), database=PINNED, scanner=SCANNER),
        Scan("code", scanner="bandit 1.9.4"),
    ),
    image=Scan("image", database=PINNED, scanner=SCANNER, image_id="sha256:" + "2" * 64),
    manifests={"dev": Scan("manifests", scanner=SCANNER)},
)
PASSED = TestRun(0, TestReport(("a",), ("c",), (), 0.1, "sha256:" + "e" * 64), seconds=1.26)
FACTS = Facts(
    image=IMAGE,
    image_id="sha256:" + "2" * 64,
    source=Source(repository="shop", commit="a" * 40),
    component="web",
    build_key="il-1",
    reused=False,
    run="run-1",
    started=NOW,
    tests=PASSED,
    sboms=(Attached("r.example/shop/web@sha256:3", "sha256:" + "3" * 64, "application/vnd.cyclonedx+json"),),
    probe=Probe(("~/.kube/config",), ("KUBERNETES_SERVICE_HOST=10.0.0.1",)),
    built_with="buildkitd",
    bases=(
        Base("debian:12", "sha256:" + "4" * 64, "sha256:" + "5" * 64),
        Base("local/base:1", "sha256:" + "6" * 64),
    ),
)


def verdict() -> Verdict:
    return judge(SCANS.of("dev"), PASSED, rules=GateRules(), waivers=(), component="web", now=NOW)


def said() -> dict[str, Statement]:
    return statements(FACTS, SCANS, {"dev": verdict()}, builder="ci-shop", policy_commit="b" * 40, finished=NOW)


def test_coverage_and_services_belong_to_the_tests() -> None:
    """As descriptors beside the report's: digests, and how many lines were run."""
    coverage = Coverage((FileCoverage("a.py", 4, 3),), "sha256:" + "7" * 64)
    facts = replace(FACTS, tests=replace(PASSED, coverage=coverage, services=(f"r.example/db@sha256:{'8' * 64}",)))

    made = statements(facts, SCANS, {"dev": verdict()}, builder="ci-shop", policy_commit="b" * 40, finished=NOW)

    assert made["tests"].predicate["configuration"][1:] == [
        {"name": "coverage.xml", "digest": {"sha256": "7" * 64}, "annotations": {"lines": 4, "covered": 3}},
        {"uri": f"docker://r.example/db@sha256:{'8' * 64}", "digest": {"sha256": "8" * 64}},
    ]


def test_evidence_holds_what_was_found_out() -> None:
    """One statement per kind and scan with a database, all about one image; the same facts, the same bytes."""
    data = evidence.envelope(said().values())

    found = evidence.read_envelope(data, path="evidence")
    evidence.require_about(found, image=IMAGE, repository="shop", commit="a" * 40, component="web", path="evidence")
    scans = found.predicates(evidence.VULNERABILITIES)
    assert [each["scanner"]["result"]["scanned"] for each in scans] == ["source", "code", "image"]
    assert [each["scanner"]["uri"].rpartition("/")[2] for each in scans] == ["trivy", "bandit", "trivy"]
    assert scans[0]["scanner"]["result"]["findings"][0]["id"] == "CVE-9"
    assert found.predicates(evidence.TEST_RESULT)[0]["result"] == "PASSED"
    (gate,) = found.predicates(evidence.GATE_VERDICT)
    assert gate["checks"]["clusterCredentials"] == {
        "checked": ["~/.kube/config"],
        "addresses": ["KUBERNETES_SERVICE_HOST=10.0.0.1"],
    }
    assert data == evidence.envelope(said().values())


def test_provenance_names_the_builder() -> None:
    """That the image names itself."""
    definition = said()["provenance"].predicate["buildDefinition"]

    assert definition["internalParameters"]["builtWith"] == "buildkitd"


def test_provenance_names_what_the_image_stands_on() -> None:
    """The source's commit, and each base by the registry's digest, or by its id when it came from no registry."""
    definition = said()["provenance"].predicate["buildDefinition"]

    assert definition["resolvedDependencies"] == [
        {"uri": "git+shop", "digest": {"gitCommit": "a" * 40}},
        {"uri": "docker://debian:12", "digest": {"sha256": "5" * 64}},
        {"uri": "docker://local/base:1", "annotations": {"imageId": "sha256:" + "6" * 64}},
    ]


def test_git_has_each_environments_own_verdict_and_the_registry_the_documents() -> None:
    """A bill of materials is too large for Git, which has its digest; the bare signature is the registry's affair."""
    names = ("gate-dev", "gate-prod", "provenance", "sbom", "sbom-cyclonedx", "sbom-spdx", "signature", "tests")

    assert for_environment(names, "dev") == ("gate-dev", "provenance", "sbom", "tests")
    assert for_registry(names) == tuple(name for name in names if name != "sbom")


def test_where_the_documents_are_can_be_read_back() -> None:
    """And what says it in another form is told."""
    found = evidence.read_envelope(evidence.envelope(said().values()), path="evidence")
    strange = Statement(IMAGE, evidence.REFERENCE, {"references": [{"digest": {}}]})

    assert evidence.documents(found) == FACTS.sboms
    with pytest.raises(FormatError, match="bill of materials"):
        evidence.documents(evidence.read_envelope(evidence.envelope((strange,)), path="evidence"))


def test_a_report_becomes_one_on_the_pushed_image_without_findings() -> None:
    """What is in an image stays so; what is wrong with it changes every day."""
    report = b'{"ArtifactName": "x.tar", "Results": [{"Packages": [1], "Vulnerabilities": [2], "Secrets": [3]}]}'

    assert of_contents(report, image=IMAGE) == (
        b'{"ArtifactName": "%(i)s", "Results": [{"Packages": [1]}], "Metadata": {"RepoTags": [], '
        b'"RepoDigests": ["%(i)s"], "Reference": "%(i)s"}}' % {b"i": IMAGE.encode()}
    )


OTHER = "pkg:oci/web@sha256%3A" + "9" * 64


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"bomFormat": "CycloneDX", "specVersion": "1.6"}',
        b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"purl": "%s"}}}' % OTHER.encode(),
        b'{"bomFormat": "other", "metadata": {"component": {"purl": "pkg:oci/web@sha256:%s"}}}' % (b"1" * 64),
    ],
)
def test_a_bill_of_materials_of_something_else_is_none(document: bytes) -> None:
    """It must be whole, and say that it is about the image that was pushed."""
    with pytest.raises(ScanFailed):
        require_about(document, "cyclonedx", image=IMAGE)


@pytest.mark.parametrize("packages", ["null", "[1]", '[{"primaryPackagePurpose": "CONTAINER", "externalRefs": [1]}]'])
def test_an_spdx_document_of_something_else_is_none(packages: str) -> None:
    """Whatever stands in it."""
    with pytest.raises(ScanFailed):
        require_about(b'{"spdxVersion": "SPDX-2.3", "packages": %s}' % packages.encode(), "spdx", image=IMAGE)


def test_a_list_of_contents_takes_the_name_that_the_registry_gives() -> None:
    """In each form of writing it; a document that does not name its image by it is none."""
    stand_in = f"sha256:{'5' * 64}"
    cyclonedx = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"component": {"purl": f"pkg:oci/web@{stand_in.replace(':', '%3A')}", "name": f"web@{stand_in}"}},
    }
    reference = {"referenceLocator": f"pkg:oci/web@{stand_in}"}
    spdx = {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"primaryPackagePurpose": "CONTAINER", "externalRefs": [reference]}],
    }
    listed = Contents(json.dumps(cyclonedx).encode(), json.dumps(spdx).encode(), stand_in)

    found = listed.about(IMAGE)

    assert b"5555" not in found.cyclonedx + found.spdx
    assert found.digest == IMAGE.partition("@")[2]
    with pytest.raises(ScanFailed, match="is not about"):
        replace(listed, spdx=b"{}").about(IMAGE)
