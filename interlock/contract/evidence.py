"""What is known about one image: in-toto statements (v1) in DSSE envelopes, one file per image.

The commit that brings the file is signed, and the release names the digest of its bytes. Each envelope is signed too
where CI's host has a signer. Predicates: SLSA provenance v1, in-toto test-result v0.1 and reference v0.1, cosign's
vulnerability scan v1, CycloneDX and SPDX documents, and our own verdict of the gate.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.contract import dsse
from interlock.contract.canonical import canonical, digest
from interlock.contract.dsse import Envelope
from interlock.errors import FormatError

Json = Mapping[str, Any]

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VULNERABILITIES = "https://cosign.sigstore.dev/attestation/vuln/v1"
REFERENCE = "https://in-toto.io/attestation/reference/v0.1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
SIGNED_IMAGE = "https://sigstore.dev/cosign/sign/v1"
"""Says nothing but that the image is ours: the signature itself."""
GATE_VERDICT = "urn:interlock:gate-verdict:v1"
BUILD_TYPE = "urn:interlock:container-build:v1"
INPUTS = "inputAttestations"
"""Of a verdict: the payloads of the statements beside it, as SLSA's verification summaries name them."""


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

    @property
    def payload(self) -> bytes:
        """What is signed, byte for byte."""
        return canonical(self.to_json())


@dataclass(frozen=True)
class Evidence:
    """The statements of one file, all about one image."""

    image: str
    statements: tuple[Statement, ...]
    digest: str
    """Of the file's bytes."""
    envelopes: tuple[Envelope, ...] = field(default=(), compare=False, repr=False)
    """What the statements were read from, with their signatures."""

    def predicates(self, predicate_type: str) -> tuple[Json, ...]:
        return tuple(each.predicate for each in self.statements if each.predicate_type == predicate_type)


# statements ------------------------------------------------------------------------------------------


_DOCKER = "docker://"


@dataclass(frozen=True)
class Base:
    """What a build took from elsewhere: its name in the Dockerfile, and what the builder took it for.

    `digest` is the registry's, or that of an address' content; empty when an image was never in a registry. `id` is
    the digest of an image's configuration.
    """

    name: str
    id: str
    digest: str = ""
    kind: Literal["image", "frontend", "address"] = "image"

    def to_json(self) -> dict[str, Any]:
        """As a resource descriptor of in-toto."""
        if self.kind == "address":
            return {"uri": self.name, "digest": {"sha256": self.digest.removeprefix("sha256:")}}
        said: dict[str, str] = {} if self.digest else {"imageId": self.id}
        if self.kind == "frontend":
            said["kind"] = self.kind
        digest = {"digest": {"sha256": self.digest.removeprefix("sha256:")}} if self.digest else {}
        return {"uri": f"{_DOCKER}{self.name}", **digest, **({"annotations": said} if said else {})}


def bases(provenance: Json) -> tuple[Base, ...]:
    """What a provenance says that its build took from elsewhere; KeyError, TypeError or AttributeError if it is none.

    Those of an older version do not tell frontends from images.
    """
    return tuple(
        _base(each)
        for each in provenance["buildDefinition"]["resolvedDependencies"]
        if not str(each["uri"]).startswith("git+")
    )


def _base(told: Json) -> Base:
    uri, said = str(told["uri"]), told.get("annotations", {})
    digest = f"sha256:{told['digest']['sha256']}" if "digest" in told else ""
    if not uri.startswith(_DOCKER):
        return Base(uri, "", digest, "address")
    name = uri.removeprefix(_DOCKER)
    return Base(name, str(said.get("imageId", "")), digest, "frontend" if said.get("kind") == "frontend" else "image")


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
    bases: Iterable[Base] = (),
    internal: Json | None = None,
) -> Statement:
    """From which source, on which images, by whom and when the image was built.

    `internal`: what else the builder wants remembered.
    """
    source = {"uri": f"git+{repository}", "digest": {"gitCommit": commit}}
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"repository": repository, "commit": commit, "component": component},
        "internalParameters": dict(internal or {}),
        "resolvedDependencies": [source, *(base.to_json() for base in bases)],
    }
    metadata = {"invocationId": run, "startedOn": _time(started), "finishedOn": _time(finished)}
    run_details = {"builder": {"id": builder}, "metadata": metadata}
    return Statement(image, PROVENANCE, {"buildDefinition": definition, "runDetails": run_details})


def test_result(
    image: str,
    *,
    report_digest: str,
    passed: Sequence[str],
    failed: Sequence[str] = (),
    skipped: Sequence[str] = (),
    more: Iterable[Json] = (),
) -> Statement:
    """The tests' names by outcome, and the digest of the JUnit report they are taken from.

    `more`: resource descriptors of what else belongs to the run: a coverage report, images of services.
    """
    junit = {"name": "junit.xml", "digest": {"sha256": report_digest.removeprefix("sha256:")}}
    predicate = {
        "result": "FAILED" if failed or not passed else "PASSED",
        "configuration": [junit, *map(dict, more)],
        "passedTests": list(passed),
        "warnedTests": list(skipped),
        "failedTests": list(failed),
    }
    return Statement(image, TEST_RESULT, predicate)


test_result.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks of its name


def vulnerability_scan(
    image: str,
    *,
    scanned: str,
    scanner: str,
    version: str,
    database: Json,
    findings: Iterable[Json],
    builder: str,
    run: str,
    started: dt.datetime,
    finished: dt.datetime,
    doubt: str = "",
    licences: Mapping[str, Sequence[str]] | None = None,
) -> Statement:
    """What a scan of the image, or of what it was made from, found, and the database that it rests on.

    `database` has `uri`, `version` and what else is known. In cosign's form (COSIGN_VULN_ATTESTATION_SPEC.md), in
    which the findings are the scanner's own affair: each has `id` and `severity` here. `doubt` says why the scanner's
    word about vulnerabilities is worth nothing, where it is. `licences` are the packages by their licence, where those
    were looked for.
    """
    result: dict[str, Any] = {"scanned": scanned, "findings": [dict(each) for each in findings]}
    predicate = {
        "invocation": {"parameters": [], "uri": "", "event_id": run, "builder.id": builder},
        "scanner": {
            "uri": scanner,
            "version": version,
            "db": dict(database),
            "result": result
            | ({"doubt": doubt} if doubt else {})
            | ({"licences": {name: list(each) for name, each in licences.items()}} if licences is not None else {}),
        },
        "metadata": {"scanStartedOn": _time(started), "scanFinishedOn": _time(finished)},
    }
    return Statement(image, VULNERABILITIES, predicate)


@dataclass(frozen=True)
class Attached:
    """A document about the image that lies in the registry. `location` is its manifest, by digest."""

    location: str
    digest: str
    media_type: str

    def to_json(self) -> dict[str, Any]:
        return {
            "downloadLocation": self.location,
            "digest": {"sha256": self.digest.removeprefix("sha256:")},
            "mediaType": self.media_type,
        }


def sbom_reference(image: str, documents: Iterable[Attached], *, attester: str) -> Statement:
    """Where the image's bills of materials are, and their digests."""
    references = [each.to_json() for each in documents]
    return Statement(image, REFERENCE, {"attester": {"id": attester}, "references": references})


def documents(evidence: Evidence) -> tuple[Attached, ...]:
    """What `sbom_reference` says; FormatError when it is not of that form."""
    try:
        return tuple(
            Attached(str(each["downloadLocation"]), f"sha256:{each['digest']['sha256']}", str(each["mediaType"]))
            for predicate in evidence.predicates(REFERENCE)
            for each in predicate["references"]
        )
    except (KeyError, TypeError):
        raise FormatError("does not say in the known form where a bill of materials is", path="evidence") from None


def gate_verdict(
    image: str,
    *,
    environment: str,
    passed: bool,
    policy_commit: str,
    reasons: Sequence[str] = (),
    waived: Sequence[Json] = (),
    checks: Json | None = None,
    time: dt.datetime | None = None,
    findings: Sequence[Json] | None = None,
    blocking: Sequence[str] = (),
    inputs: Iterable[Statement] = (),
) -> Statement:
    """What the gate decided for one environment, by the policy of which commit. `checks`: what else was looked at.

    `findings`: since when each that counts is known (`finding`, `firstSeen`, `lastSeen`, `present`), gone ones too.
    `blocking`: the keys of those that it names as reasons. `inputs`: the statements that it was made with; it holds for
    no others.
    """
    predicate: dict[str, Any] = {
        "environment": environment,
        "result": "PASSED" if passed else "FAILED",
        "policy": {"commit": policy_commit},
        "reasons": list(reasons),
        "waived": [dict(each) for each in waived],
        "checks": dict(checks or {}),
    }
    if time is not None:
        predicate["timeVerified"] = _time(time)
    if findings is not None:
        predicate |= {"findings": [dict(each) for each in findings], "blocking": list(blocking)}
    if told := sorted(digest(each.payload) for each in inputs):
        predicate[INPUTS] = [{"digest": {"sha256": each.removeprefix("sha256:")}} for each in told]
    return Statement(image, GATE_VERDICT, predicate)


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# the file --------------------------------------------------------------------------------------------


def envelope(statements: Iterable[Statement]) -> bytes:
    """The bytes of an evidence file whose statements nobody has signed. Same statements, same bytes."""
    return document(Envelope(each.payload) for each in statements)


def document(envelopes: Iterable[Envelope]) -> bytes:
    """The bytes of an evidence file."""
    return canonical({"format": 1, "envelopes": [each.to_json() for each in envelopes]})


def read_envelope(data: bytes, *, path: str) -> Evidence:
    """The statements of a file. All must be about one image, and the bytes must be the ones that CI writes.

    Whether somebody has signed them is not looked at here: the digest in the release stands for the whole file.
    """
    try:
        envelopes = tuple(dsse.read_envelope(each) for each in json.loads(data)["envelopes"])
        statements = tuple(read_statement(each.payload) for each in envelopes)
        faithful = document(envelopes) == data and [each.payload for each in statements] == [
            each.payload for each in envelopes
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise FormatError("not an evidence file of format 1", path=path, hint="only CI writes this file") from error
    if not faithful:
        raise FormatError("not in the form that CI writes", path=path, hint="only CI writes this file")
    images = {each.image for each in statements}
    if len(images) != 1:
        raise FormatError(f"must speak about one image, not about {len(images)}", path=path)
    return Evidence(images.pop(), statements, digest(data), envelopes)


def read_statement(payload: bytes) -> Statement:
    """A statement from an envelope's payload; ValueError, KeyError, TypeError or IndexError when it is none."""
    statement = json.loads(payload)
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
