"""What CI knows about an image, as the statements of its evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from interlock.ci.credentials import Probe
from interlock.ci.gate import Scans
from interlock.ci.junit import TestRun
from interlock.contract import evidence
from interlock.contract.evidence import Attached, Base, Statement
from interlock.contract.finding import Database, Scan
from interlock.contract.gate import Verdict
from interlock.contract.models import Source

_SCANNERS = {"trivy": "https://github.com/aquasecurity/trivy", "bandit": "https://github.com/PyCQA/bandit"}
_NAMES = 2000
_GATE = "gate-"
_REFERENCE = "sbom"
"""The one statement that stands only in Git: in the registry are the documents themselves."""
_REGISTRY_ONLY = ("sbom-cyclonedx", "sbom-spdx", "signature")


@dataclass(frozen=True)
class Facts:
    """All that a run has found out about one image, apart from scans and verdicts."""

    image: str
    """By digest."""
    image_id: str
    source: Source
    component: str
    build_key: str
    reused: bool
    """The image was found in the registry, built by an earlier run."""
    run: str
    started: dt.datetime
    tests: TestRun
    sboms: tuple[Attached, ...]
    probe: Probe
    bases: tuple[Base, ...] = ()
    head: str = ""
    """The commit that is released, where the image was built from an earlier one with the same inputs: `source`."""
    key_of_tests: str = ""
    """Stands for how the image was tested."""
    given: bool = False
    """Another builder made the image, and says from what."""
    built_with: str = ""
    """Which builder made it, as the image says itself."""


def statements(
    facts: Facts,
    scans: Scans,
    verdicts: Mapping[str, Verdict],
    *,
    builder: str,
    policy_commit: str,
    finished: dt.datetime,
    branch: str = "",
    commit_key: str = "",
) -> dict[str, Statement]:
    """Everything that is said about the image, by names that mean the same for each image.

    `verdicts` by environment. `builder` is who ran all this: CI's name in trust/signers.yaml. `branch` is the protected
    one that the commit was found on, `commit_key` the fingerprint of the key that signed it, where that is asked for.
    """
    builder = f"urn:interlock:ci:{builder}"
    made = _Made(builder, facts.run, facts.started, finished)
    credentials = {"checked": list(facts.probe.checked), "addresses": list(facts.probe.addresses)}
    said = {
        "provenance": _provenance(facts, builder, finished, {"branch": branch, "commitKey": commit_key}),
        "tests": _tests(facts),
        _REFERENCE: evidence.sbom_reference(facts.image, facts.sboms, attester=builder),
    }
    for scan in (*scans.sources, scans.image):
        if scan.database or scan.subject == "code":
            said[f"scan-{scan.subject}"] = _scan(facts.image, scan, made)
    inputs = tuple(said.values())
    for environment, verdict in verdicts.items():
        said[_GATE + environment] = _verdict(
            facts.image, environment, verdict, policy_commit, made, inputs=inputs, clusterCredentials=credentials
        )
    return said


def rescan_envelope(
    image: str,
    scan: Scan,
    *,
    environment: str,
    verdict: Verdict,
    policy_commit: str,
    builder: str,
    run: str,
    finished: dt.datetime,
) -> bytes:
    """The file beside the evidence of a release that was judged again: today's verdict and scan."""
    made = _Made(f"urn:interlock:ci:{builder}", run, finished, finished)
    return evidence.envelope(
        (
            *([_scan(image, scan, made)] if scan.database else []),
            _verdict(image, environment, verdict, policy_commit, made),
        )
    )


def for_environment(names: Iterable[str], environment: str) -> tuple[str, ...]:
    """Of the statements by these names those that belong into one environment's evidence file, in its order."""
    own = _GATE + environment
    return tuple(sorted(each for each in names if each == own or not each.startswith((_GATE, *_REGISTRY_ONLY))))


def for_registry(names: Iterable[str]) -> tuple[str, ...]:
    """Of the statements by these names those that are attached to the image."""
    return tuple(sorted(name for name in names if name != _REFERENCE))


def _provenance(facts: Facts, builder: str, finished: dt.datetime, source: Mapping[str, str]) -> Statement:
    return evidence.provenance(
        facts.image,
        repository=facts.source.repository,
        commit=facts.source.commit,
        component=facts.component,
        builder=builder,
        run=facts.run,
        started=facts.started,
        finished=finished,
        bases=facts.bases,
        internal=_internal(facts) | {name: each for name, each in source.items() if each},
    )


def _internal(facts: Facts) -> dict[str, object]:
    """What a later run asks, and which commit's sources were scanned and released."""
    return {
        "buildKey": facts.build_key,
        "head": facts.head or facts.source.commit,
        "imageId": facts.image_id,
        "reused": facts.reused,
        "tests": facts.key_of_tests,
        **({"given": True} if facts.given else {}),
        **({"builtWith": facts.built_with} if facts.built_with else {}),
    }


def _tests(facts: Facts) -> Statement:
    report = facts.tests.report
    assert report is not None  # noqa: S101 - the gate lets no run without a report pass
    return evidence.test_result(
        facts.image,
        report_digest=report.digest,
        passed=_some(report.passed),
        failed=_some([case.name for case in report.failed]),
        skipped=_some(report.skipped),
        more=list(_beside(facts.tests)),
    )


def _beside(tests: TestRun) -> Iterator[dict[str, object]]:
    if tests.coverage:
        counts = {"lines": tests.coverage.lines, "covered": tests.coverage.covered}
        yield {"name": "coverage.xml", "digest": _sha256(tests.coverage.digest), "annotations": counts}
    for image in tests.services:
        yield {"uri": f"docker://{image}", "digest": _sha256(image.partition("@")[2])}


def _sha256(text: str) -> dict[str, str]:
    return {"sha256": text.removeprefix("sha256:")}


def _some(names: Sequence[str]) -> list[str]:
    rest = len(names) - _NAMES
    return [*names[:_NAMES], *([f"and {rest} more"] if rest > 0 else [])]


@dataclass(frozen=True)
class _Made:
    """Who found something out, in which run and when."""

    builder: str
    run: str
    started: dt.datetime
    finished: dt.datetime


def _scan(image: str, scan: Scan, made: _Made) -> Statement:
    name, _, version = scan.scanner.partition(" ")
    return evidence.vulnerability_scan(
        image,
        scanned=scan.subject,
        scanner=_SCANNERS.get(name, name),
        version=version,
        database=_database(scan.database) if scan.database else {},
        findings=_findings(scan),
        builder=made.builder,
        run=made.run,
        started=made.started,
        finished=made.finished,
        doubt="" if scan.assessed else scan.doubt or scan.failure or "not assessed",
        licences=_licences(scan) if scan.licences else None,
    )


def _licences(scan: Scan) -> dict[str, list[str]]:
    """The packages by their licence, short enough to be in every release: CD holds them to its own policy."""
    found: dict[str, set[str]] = {}
    for each in scan.findings:
        if each.kind == "licence":
            found.setdefault(each.id, set()).add(each.package or each.target)
    return {name: sorted(packages) for name, packages in sorted(found.items())}


def _database(database: Database) -> dict[str, object]:
    return {
        "uri": f"{_SCANNERS['trivy']}-db",
        "digest": database.digest,
        "version": database.updated.isoformat(),
        "pinned": database.pinned,
    }


def _findings(scan: Scan) -> Iterator[dict[str, object]]:
    """All but the licences, which are told in a shorter form."""
    for finding in scan.findings:
        if finding.kind == "licence":
            continue
        yield {key: value for key, value in asdict(finding).items() if value not in (None, "")}


def _verdict(
    image: str,
    environment: str,
    verdict: Verdict,
    policy_commit: str,
    made: _Made,
    *,
    inputs: Sequence[Statement] = (),
    **checks: object,
) -> Statement:
    return evidence.gate_verdict(
        image,
        environment=environment,
        passed=verdict.passed,
        policy_commit=policy_commit,
        reasons=verdict.reasons,
        waived=[_waived(each.hit.finding.id, each.waiver.model_dump(mode="json")) for each in verdict.waived],
        checks={**checks, "notes": list(verdict.notes)},
        time=made.finished,
        findings=list(_seen(verdict)),
        blocking=sorted({hit.finding.key for hit in verdict.blocking}),
        inputs=inputs,
    )


def _seen(verdict: Verdict) -> Iterator[dict[str, object]]:
    for key, each in verdict.seen.items():
        days = {"firstSeen": each.first.isoformat(), "lastSeen": each.last.isoformat()}
        yield {"finding": key, **days, "present": each.present}


def _waived(finding: str, waiver: dict[str, object]) -> dict[str, object]:
    return {"finding": finding, "waiver": waiver}
