"""Releases, their evidence and their commit's trailers: what CI writes, CD reads back."""

from __future__ import annotations

import base64
import json
import re

import pytest

from interlock.contract import evidence, release, trailers
from interlock.contract.application import read_application
from interlock.contract.canonical import canonical, digest
from interlock.contract.models import ReleasedComponent, Source
from interlock.contract.trailers import Trailers
from interlock.errors import FormatError
from tests.examples_of_repositories import IMAGE, SOURCE_COMMIT, TIME, statements


def entry(letter: str) -> ReleasedComponent:
    return ReleasedComponent(
        image=f"registry.example/shop/web@sha256:{letter * 64}",
        source=Source(repository="shop", commit=letter * 40),
        evidence="sha256:" + letter * 64,
    )


def test_only_the_released_components_entry_changes() -> None:
    """Releasing one component keeps the others' text to the byte, and the changed one is found again."""
    both = release.with_component(release.with_component(None, "web", entry("1")), "api", entry("2"))
    newer = release.with_component(both, "web", entry("3"))
    changed = {line for line in newer.splitlines() if line not in both.splitlines()}
    assert all("3" * 40 in line for line in changed)
    assert len(changed) == 3
    assert release.changed_components(both, newer) == {"web"}
    assert release.with_component(newer, "web", entry("3")) == newer


def test_new_and_removed_entries_are_changes() -> None:
    """An entry that comes or goes is a change of that component."""
    one = release.with_component(None, "web", entry("1"))
    assert release.changed_components(None, one) == {"web"}
    assert release.changed_components(one, None) == {"web"}
    assert release.changed_components(one, one) == frozenset()


def test_a_release_writes_what_stands_in_the_format() -> None:
    """A commit id of digits only stays text."""
    assert release.with_component(None, "web", entry("5")) == (
        "format: 1\ncomponents:\n  web:\n"
        f"    image: registry.example/shop/web@sha256:{'5' * 64}\n"
        f'    source:\n      repository: shop\n      commit: "{"5" * 40}"\n'
        f"    evidence: sha256:{'5' * 64}\n"
    )


def test_evidence_comes_back() -> None:
    """Statements of every kind are read back as they were written, with the image and the digest of the bytes."""
    scan = evidence.vulnerability_scan(
        IMAGE,
        scanned="image",
        scanner="https://trivy.dev",
        version="0.76.0",
        database={"uri": "https://trivy.dev/db", "version": "2030-01-01T00:00:00Z"},
        findings=[{"id": "CVE-2030-1", "severity": "LOW", "package": "libc6"}],
        builder="ci",
        run="run-1",
        started=TIME,
        finished=TIME,
    )
    kept = evidence.Attached("registry.example/shop/web@sha256:" + "4" * 64, "sha256:" + "3" * 64, "x/y")
    sbom = evidence.sbom_reference(IMAGE, (kept,), attester="ci")
    written = (*statements(), scan, sbom)
    data = evidence.envelope(written)
    found = evidence.read_envelope(data, path="e.json")
    assert found == evidence.Evidence(IMAGE, written, digest(data))
    assert found.predicates(evidence.VULNERABILITIES)[0]["scanner"]["result"]["findings"][0]["id"] == "CVE-2030-1"
    assert evidence.documents(found) == (kept,)


def test_evidence_is_in_toto_in_dsse() -> None:
    """Others' tools can read it: DSSE envelopes around in-toto statements about the image's digest."""
    first = json.loads(evidence.envelope(statements()))["envelopes"][0]
    statement = json.loads(base64.b64decode(first["payload"]))
    assert (first["payloadType"], first["signatures"]) == ("application/vnd.in-toto+json", [])
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "registry.example/shop/web", "digest": {"sha256": "1a" * 32}}]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"


def test_tests_that_failed_or_never_ran_do_not_pass() -> None:
    """A test result without a passed test says FAILED."""
    for passed, failed in (((), ()), (("a",), ("b",))):
        made = evidence.test_result(IMAGE, report_digest="sha256:" + "0" * 64, passed=passed, failed=failed)
        assert made.predicate["result"] == "FAILED"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"envelopes":[],"format":1}',
        b'{"envelopes":[{"payload":"!","payloadType":"x","signatures":[]}],"format":1}',
        evidence.envelope(statements())[:-9],
        evidence.envelope(statements()).replace(b'"signatures":[]', b'"signatures":[ ]'),
        evidence.envelope(statements()).replace(b'"format":1', b'"format":2'),
        evidence.envelope((*statements(), *statements("registry.example/shop/web@sha256:" + "0" * 64))),
        b"[" * 100_000,
    ],
)
def test_half_or_foreign_evidence_is_refused(data: bytes) -> None:
    """Bytes that are not exactly what CI writes are one error that names the file."""
    with pytest.raises(FormatError, match=re.escape("e.json: ")):
        evidence.read_envelope(data, path="e.json")


@pytest.mark.parametrize("wrong", ["image", "repository", "commit", "component"])
def test_evidence_about_something_else_is_refused(wrong: str) -> None:
    """Evidence must be about the released image, and say that it was built from the released source."""
    found = evidence.read_envelope(evidence.envelope(statements()), path="e.json")
    right = {"image": IMAGE, "repository": "shop", "commit": SOURCE_COMMIT, "component": "web"}
    evidence.require_about(found, **right, path="e.json")
    with pytest.raises(FormatError, match=re.escape("e.json: ")):
        evidence.require_about(found, **{**right, wrong: "other"}, path="e.json")


def test_evidence_without_provenance_is_refused() -> None:
    """A provenance of another form counts as none."""
    nothing = evidence.Statement(IMAGE, evidence.PROVENANCE, {"buildDefinition": []})
    found = evidence.read_envelope(evidence.envelope([nothing]), path="e.json")
    with pytest.raises(FormatError, match="does not say once that web was built from shop"):
        evidence.require_about(
            found, image=IMAGE, repository="shop", commit=SOURCE_COMMIT, component="web", path="e.json"
        )


TRAILERS = Trailers("acme/shop", "5" * 40, "run-1", "sha256:" + "2" * 64, "web")


def test_trailers_come_back() -> None:
    """A message is the subject, a blank line and git trailers, and gives them back."""
    text = trailers.message("Release web 555555555555 to dev", TRAILERS)
    assert text.startswith("Release web 555555555555 to dev\n\nInterlock-Source: acme/shop\nInterlock-Commit: 555")
    assert trailers.parse(text) == TRAILERS


@pytest.mark.parametrize("text", ["Fix it", "Fix it\n\nBecause: of that\nand more\n", "a\n\nSigned-off-by: b <c@d>\n"])
def test_other_commits_have_no_trailers(text: str) -> None:
    """A message without trailers of ours is nobody's release."""
    assert trailers.parse(text) is None


def test_half_the_trailers_are_refused() -> None:
    """Missing or doubled trailers are errors, so that a release is never half understood."""
    text = trailers.message("Release", TRAILERS)
    with pytest.raises(FormatError, match="the trailers Interlock-Run are missing"):
        trailers.parse(text.replace("Interlock-Run: run-1\n", ""))
    with pytest.raises(FormatError, match="twice"):
        trailers.parse(text + "Interlock-Run: run-2\n")


@pytest.mark.parametrize("run", ["a\nInterlock-Component: api", "", "a b", "a\u2028b"])
def test_a_value_cannot_add_a_trailer(run: str) -> None:
    """Blanks, line breaks and nothing are refused when the message is made."""
    with pytest.raises(FormatError, match="Interlock-Run must be printable"):
        trailers.message("Release", Trailers("shop", "5" * 40, run, "sha256:" + "2" * 64, "web"))
    with pytest.raises(FormatError, match="one printable line"):
        trailers.message("Release\n\nx", TRAILERS)


def test_an_application_repository_is_read() -> None:
    """interlock.yaml names components and their tests, and cannot name an environment."""
    text = "format: 1\ncomponents:\n  web:\n    tests: {command: [python, -m, pytest]}\n"
    assert read_application(text).components["web"].tests.command == ("python", "-m", "pytest")
    with pytest.raises(FormatError, match=r"interlock.yaml:5:1: unknown field 'environments'"):
        read_application(f"{text}environments: [prod]\n")
    with pytest.raises(FormatError, match="must be a relative path inside the repository"):
        read_application(text + "    context: ../other\n")
    assert canonical({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    arguments: {HTTP_PROXY: x}\n", "HTTP_PROXY is the builder's own argument"),
        ("    arguments: {targetPlatform: x}\n", "targetPlatform is the builder's own argument"),
        ("    arguments: {1X: x}\n", "arguments"),
        ("    environments: []\n", "environments"),
        ("    target: Web\n", "target"),
    ],
)
def test_a_component_says_only_what_is_its_own(more: str, said: str) -> None:
    """No argument that a builder gives meaning to, no empty list of environments, no name that is no stage's."""
    text = "format: 1\ncomponents:\n  web:\n    tests: {command: [x]}\n"

    read = read_application(f"{text}    target: web\n    arguments: {{VERSION: '1'}}\n    environments: [dev]\n")
    assert read.components["web"].arguments == {"VERSION": "1"}
    with pytest.raises(FormatError, match=said):
        read_application(text + more)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("{image: 'r.example/db:1', port: 1}", "image"),
        (f"{{image: 'r.example/db@sha256:{'0' * 64}'}}", "name a ready command or a port"),
    ],
)
def test_a_service_is_pinned_and_waited_for(service: str, said: str) -> None:
    """A tag would be another image tomorrow; tests that begin too early fail by chance."""
    with pytest.raises(FormatError, match=said):
        read_application(f"format: 1\ncomponents:\n  web:\n    tests: {{command: [x], services: {{db: {service}}}}}\n")


def test_tests_stand_on_what_ships() -> None:
    """A stage for the tests needs the name of the one below it."""
    text = "format: 1\ncomponents:\n  web:\n    tests: {command: [x], target: test}\n"

    assert read_application(text + "    target: web\n").components["web"].tests.target == "test"
    with pytest.raises(FormatError, match=r"tests.target needs target"):
        read_application(text)
