"""What CI knows about an image, as the statements of its evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from interlock.ci.credentials import Probe
from interlock.ci.findings import Database, Scan
from interlock.ci.gate import Verdict
from interlock.ci.junit import TestReport
from interlock.contract import evidence
from interlock.contract.evidence import Statement
from interlock.contract.models import Source

SBOM_MEDIA_TYPE = "application/vnd.cyclonedx+json"
_SCANNERS = {"trivy": "https://github.com/aquasecurity/trivy", "bandit": "https://github.com/PyCQA/bandit"}
_NAMES = 2000


@dataclass(frozen=True)
class Facts:
    """All that a run has found out about one image, apart from the verdicts."""

    image: str
    """By digest."""
    image_id: str
    source: Source
    component: str
    build_key: str
    reused: bool
    """The image was found in the registry, built by an earlier run."""
    signer: str
    run: str
    started: dt.datetime
    finished: dt.datetime
    tests: TestReport
    sbom_location: str
    sbom_digest: str
    probe: Probe


def envelope(facts: Facts, scans: Iterable[Scan], *, environment: str, verdict: Verdict, policy_commit: str) -> bytes:
    """The evidence file for one environment."""
    return evidence.envelope(
        (
            _provenance(facts),
            _tests(facts),
            *(_scan(facts, scan) for scan in scans if scan.database or scan.subject == "code"),
            evidence.sbom_reference(
                facts.image,
                location=facts.sbom_location,
                sbom_digest=facts.sbom_digest,
                media_type=SBOM_MEDIA_TYPE,
                attester=_builder(facts),
            ),
            evidence.gate_verdict(
                facts.image,
                environment=environment,
                passed=verdict.passed,
                policy_commit=policy_commit,
                reasons=verdict.reasons,
                waived=[_waived(each.hit.finding.id, each.waiver.model_dump(mode="json")) for each in verdict.waived],
                checks={
                    "clusterCredentials": {
                        "checked": list(facts.probe.checked),
                        "addresses": list(facts.probe.addresses),
                    },
                    "notes": list(verdict.notes),
                },
            ),
        )
    )


def _builder(facts: Facts) -> str:
    return f"urn:interlock:ci:{facts.signer}"


def _provenance(facts: Facts) -> Statement:
    return evidence.provenance(
        facts.image,
        repository=facts.source.repository,
        commit=facts.source.commit,
        component=facts.component,
        builder=_builder(facts),
        run=facts.run,
        started=facts.started,
        finished=facts.finished,
        internal={"buildKey": facts.build_key, "imageId": facts.image_id, "reused": facts.reused},
    )


def _tests(facts: Facts) -> Statement:
    return evidence.test_result(
        facts.image,
        report_digest=facts.tests.digest,
        passed=_some(facts.tests.passed),
        failed=_some([case.name for case in facts.tests.failed]),
        skipped=_some(facts.tests.skipped),
    )


def _some(names: Sequence[str]) -> list[str]:
    rest = len(names) - _NAMES
    return [*names[:_NAMES], *([f"and {rest} more"] if rest > 0 else [])]


def _scan(facts: Facts, scan: Scan) -> Statement:
    name, _, version = scan.scanner.partition(" ")
    return evidence.vulnerability_scan(
        facts.image,
        scanner=_SCANNERS.get(name, name),
        version=version,
        database={"scanned": scan.subject, **(_database(scan.database) if scan.database else {})},
        findings=list(_findings(scan)),
        finished=facts.finished,
    )


def _database(database: Database) -> dict[str, object]:
    return {
        "uri": f"{_SCANNERS['trivy']}-db",
        "digest": database.digest,
        "lastUpdate": database.updated.isoformat(),
        "pinned": database.pinned,
    }


def _findings(scan: Scan) -> Iterator[dict[str, object]]:
    """All but the licences, of which the bill of materials has every one; those that block are in the verdict."""
    for finding in scan.findings:
        if finding.kind == "licence":
            continue
        yield {key: value for key, value in asdict(finding).items() if value not in (None, "")}


def _waived(finding: str, waiver: dict[str, object]) -> dict[str, object]:
    return {"finding": finding, "waiver": waiver}
