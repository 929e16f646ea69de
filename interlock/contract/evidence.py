"""What is known about one image: in-toto statements (v1) in DSSE envelopes, one file per image.

Envelopes are unsigned in this format version: the commit that brings the file is signed, and the release names the
digest of its bytes. Predicates: SLSA provenance v1, in-toto test-result v0.1, vulns v0.1 and reference v0.1, and our
own verdict of the gate.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.contract.canonical import canonical, digest
from interlock.errors import FormatError

Json = Mapping[str, Any]

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VULNERABILITIES = "https://in-toto.io/attestation/vulns/v0.1"
REFERENCE = "https://in-toto.io/attestation/reference/v0.1"
GATE_VERDICT = "urn:interlock:gate-verdict:v1"
BUILD_TYPE = "urn:interlock:container-build:v1"


@dataclass(frozen=True)
class Statement:
    """Something said about an image. `image` is `registry/repository@sha256:…`."""

    image: str
    predicate_type: str
    predicate: Json

    def to_json(self) -> dict[str, Any]:
        name, _, hexadecimal = self.image.partition("@sha256:")
        return {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": hexadecimal}}],
            "predicateType": self.predicate_type,
            "predicate": self.predicate,
        }


@dataclass(frozen=True)
class Evidence:
    """The statements of one file, all about one image."""

    image: str
    statements: tuple[Statement, ...]
    digest: str
    """Of the file's bytes."""

    def predicates(self, predicate_type: str) -> tuple[Json, ...]:
        return tuple(each.predicate for each in self.statements if each.predicate_type == predicate_type)


# statements ------------------------------------------------------------------------------------------


def provenance(
    image: str,
    *,
    repository: str,
    commit: str,
    component: str,
    builder: str,
    run: str,
    started: dt.datetime,
    finished: dt.datetime,
    internal: Json | None = None,
) -> Statement:
    """From which source, by whom and when the image was built. `internal`: what else the builder wants remembered."""
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"repository": repository, "commit": commit, "component": component},
        "internalParameters": dict(internal or {}),
        "resolvedDependencies": [{"uri": f"git+{repository}", "digest": {"gitCommit": commit}}],
    }
    metadata = {"invocationId": run, "startedOn": _time(started), "finishedOn": _time(finished)}
    run_details = {"builder": {"id": builder}, "metadata": metadata}
    return Statement(image, PROVENANCE, {"buildDefinition": definition, "runDetails": run_details})


def test_result(
    image: str, *, report_digest: str, passed: Sequence[str], failed: Sequence[str] = (), skipped: Sequence[str] = ()
) -> Statement:
    """The tests' names by outcome, and the digest of the JUnit report they are taken from."""
    predicate = {
        "result": "FAILED" if failed or not passed else "PASSED",
        "configuration": [{"name": "junit.xml", "digest": {"sha256": report_digest.removeprefix("sha256:")}}],
        "passedTests": list(passed),
        "warnedTests": list(skipped),
        "failedTests": list(failed),
    }
    return Statement(image, TEST_RESULT, predicate)


test_result.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks of its name


def vulnerability_scan(
    image: str, *, scanner: str, version: str, database: Json, findings: Iterable[Json], finished: dt.datetime
) -> Statement:
    """A scan's findings (each with `id`, `severity` and what else is known) and the database they rest on."""
    results = [
        {
            "id": each["id"],
            "severity": [{"method": "vendor", "score": each["severity"]}],
            "annotations": [{key: value} for key, value in each.items() if key not in {"id", "severity"}],
        }
        for each in findings
    ]
    scan = {"uri": scanner, "version": version, "db": dict(database), "result": results}
    return Statement(image, VULNERABILITIES, {"scanner": scan, "metadata": {"scanFinishedOn": _time(finished)}})


def sbom_reference(image: str, *, location: str, sbom_digest: str, media_type: str, attester: str) -> Statement:
    """Where the image's bill of materials is, and its digest."""
    reference = {
        "downloadLocation": location,
        "digest": {"sha256": sbom_digest.removeprefix("sha256:")},
        "mediaType": media_type,
    }
    return Statement(image, REFERENCE, {"attester": {"id": attester}, "references": [reference]})


def gate_verdict(
    image: str,
    *,
    environment: str,
    passed: bool,
    policy_commit: str,
    reasons: Sequence[str] = (),
    waived: Sequence[Json] = (),
    checks: Json | None = None,
) -> Statement:
    """What the gate decided for one environment, by the policy of which commit. `checks`: what else was looked at."""
    predicate = {
        "environment": environment,
        "result": "PASSED" if passed else "FAILED",
        "policy": {"commit": policy_commit},
        "reasons": list(reasons),
        "waived": [dict(each) for each in waived],
        "checks": dict(checks or {}),
    }
    return Statement(image, GATE_VERDICT, predicate)


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# the file --------------------------------------------------------------------------------------------


def envelope(statements: Iterable[Statement]) -> bytes:
    """The bytes of an evidence file. Same statements, same bytes."""
    return canonical({"format": 1, "envelopes": [_wrap(each) for each in statements]})


def _wrap(statement: Statement) -> dict[str, Any]:
    payload = base64.b64encode(canonical(statement.to_json())).decode()
    return {"payloadType": PAYLOAD_TYPE, "payload": payload, "signatures": []}


def read_envelope(data: bytes, *, path: str) -> Evidence:
    """The statements of a file. All must be about one image, and the bytes must be the ones that `envelope` writes."""
    try:
        statements = tuple(_unwrap(each) for each in json.loads(data)["envelopes"])
        faithful = envelope(statements) == data
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error) as error:
        raise FormatError("not an evidence file of format 1", path=path, hint="only CI writes this file") from error
    if not faithful:
        raise FormatError("not in the form that CI writes", path=path, hint="only CI writes this file")
    images = {each.image for each in statements}
    if len(images) != 1:
        raise FormatError(f"must speak about one image, not about {len(images)}", path=path)
    return Evidence(images.pop(), statements, digest(data))


def _unwrap(envelope: Json) -> Statement:
    statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
    subject = statement["subject"][0]
    image = f"{subject['name']}@sha256:{subject['digest']['sha256']}"
    return Statement(image, statement["predicateType"], statement["predicate"])


def require_about(evidence: Evidence, *, image: str, repository: str, commit: str, component: str, path: str) -> None:
    """The evidence must be about this image, and say that it was built from this source."""
    if evidence.image != image:
        raise FormatError(f"is about {evidence.image}, but the release names {image}", path=path)
    wanted = {"repository": repository, "commit": commit, "component": component}
    if [_source(each) for each in evidence.predicates(PROVENANCE)] != [wanted]:
        raise FormatError(f"does not say once that {component} was built from {repository} at {commit}", path=path)


def _source(provenance: Json) -> object:
    try:
        return provenance["buildDefinition"]["externalParameters"]
    except (KeyError, TypeError):
        return None
