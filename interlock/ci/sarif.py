"""Findings as SARIF 2.1.0 (OASIS, with errata 01), which editors and forges read.

One run for each component. Places in the application repository are relative to its root (`SRCROOT`); what is wrong
with an image is shown at its Dockerfile, and of a manifest there is only the rendered object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from interlock.contract.canonical import canonical, digest
from interlock.contract.finding import Finding, Scan
from interlock.contract.gate import Hit, Verdict

Json = dict[str, Any]
Level = Literal["error", "warning", "note"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASES = {
    "SRCROOT": {"description": {"text": "the root of the application repository"}},
    "RENDERED": {"description": {"text": "the manifests, as they are rendered for each environment"}},
}
_UNSAFE = re.compile(r"[^A-Za-z0-9/._~-]")
"""In a relative reference (RFC 3986)."""
_SCORES = {"CRITICAL": "9.5", "HIGH": "8.0", "MEDIUM": "5.5", "LOW": "2.0", "UNKNOWN": "0.0"}
"""Forges order by `security-severity`; each of these is in the middle of what GitHub calls by that name."""


@dataclass(frozen=True)
class Judged:
    """One component: what was found, and the gate's verdict for each environment."""

    component: str
    dockerfile: str
    """Its path in the application repository."""
    scans: Sequence[Scan]
    verdicts: Mapping[str, Verdict]


def document(judged: Iterable[Judged], *, version: str) -> Json:
    """A whole log, as JSON. `version` is Interlock's."""
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(each, version) for each in judged]}


def _run(judged: Judged, version: str) -> Json:
    hits = tuple(dict.fromkeys(Hit(scan.subject, finding) for scan in judged.scans for finding in scan.findings))
    rules: dict[str, Finding] = {}
    for hit in hits:
        rules.setdefault(hit.finding.id, hit.finding)
    indexes = {name: index for index, name in enumerate(rules)}
    troubles = dict.fromkeys(each for verdict in judged.verdicts.values() for each in _troubles(verdict))
    return {
        "tool": {
            "driver": {
                "name": "Interlock",
                "semanticVersion": version,
                "rules": [_rule(finding) for finding in rules.values()],
            }
        },
        "automationDetails": {"id": f"interlock/{judged.component}/"},
        "originalUriBaseIds": _BASES,
        "invocations": [
            {
                "executionSuccessful": not troubles,
                "toolExecutionNotifications": [{"level": "error", "message": _message(text)} for text in troubles],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(hit, judged, indexes[hit.finding.id]) for hit in hits],
    }


def _troubles(verdict: Verdict) -> tuple[str, ...]:
    """What blocks and is no finding: scans that failed, tests that did not pass."""
    return verdict.reasons[: len(verdict.reasons) - len(verdict.blocking)]


def _rule(finding: Finding) -> Json:
    links = {"helpUri": finding.link} if finding.link else {}
    return {
        "id": finding.id,
        "shortDescription": _message(finding.title or finding.id),
        **links,
        "defaultConfiguration": {"level": _level_of(finding)},
        "properties": {"tags": ["security", finding.kind], "security-severity": _SCORES[finding.severity]},
    }


def _result(hit: Hit, judged: Judged, index: int) -> Json:
    finding = hit.finding
    closed = [name for name, verdict in judged.verdicts.items() if hit in verdict.blocking]
    waived = {each.waiver for verdict in judged.verdicts.values() for each in verdict.waived if each.hit == hit}
    result = {
        "ruleId": finding.id,
        "ruleIndex": index,
        "level": "error" if closed else _level_of(finding),
        "message": _message(". ".join((str(hit), *_told(hit, judged, closed)))),
        "locations": [_location(hit, judged.dockerfile)],
        "partialFingerprints": {"interlock/v1": _fingerprint(hit)},
        "properties": {"blocks": closed},
    }
    if waived and not closed:
        result["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": f"{each.reason} (waived by {each.owner} until {each.ends})",
            }
            for each in sorted(waived, key=lambda waiver: (waiver.ends, waiver.owner))
        ]
    return result


def _level_of(finding: Finding) -> Level:
    return "note" if finding.severity in ("LOW", "UNKNOWN") else "warning"


def _told(hit: Hit, judged: Judged, closed: Sequence[str]) -> Iterator[str]:
    """What the gate makes of it, as sentences."""
    if closed:
        yield f"Blocks for {', '.join(closed)}"
    graces = {each.blocks for verdict in judged.verdicts.values() for each in verdict.graced if each.hit == hit}
    if graces:
        yield f"Came to light lately: blocks from {min(graces)} on"
    if hit.finding.kind == "vulnerability" and hit.finding.fixed:
        yield f"Raise {hit.finding.package} to {hit.finding.fixed}"


def _location(hit: Hit, dockerfile: str) -> Json:
    finding = hit.finding
    if hit.subject == "manifests":
        return {"physicalLocation": {"artifactLocation": _artifact(finding.target, "RENDERED")}} | _named(finding)
    if hit.subject == "image":
        return {"physicalLocation": {"artifactLocation": _artifact(dockerfile, "SRCROOT")}} | _named(finding)
    region = {"region": {"startLine": finding.line}} if finding.line else {}
    return {"physicalLocation": {"artifactLocation": _artifact(finding.target, "SRCROOT"), **region}}


def _artifact(path: str, base: str) -> Json:
    return {"uri": _UNSAFE.sub(_escaped, path), "uriBaseId": base}


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace"))


def _named(finding: Finding) -> Json:
    name = f"{finding.target}: {finding.package}" if finding.package else finding.target
    return {"logicalLocations": [{"fullyQualifiedName": name}]}


def _fingerprint(hit: Hit) -> str:
    """The same from one commit to the next, in whatever line it is."""
    return digest(canonical([hit.subject, hit.finding.kind, hit.finding.key, hit.finding.target])).removeprefix(
        "sha256:"
    )


def _message(text: str) -> Json:
    r"""Plain text. A bracket would begin a link (SARIF 3.11.6), and what is quoted may come from anywhere."""
    return {"text": re.sub(r"([\\\[\]])", r"\\\1", " ".join(text.split()))}
