"""What CI asks the signer for, and what the signer asks itself before it signs.

CI's process is not trusted with the key: the signer makes every statement itself, out of facts that it can check or
that are CI's to say, and judges once more by a policy that it has fetched itself.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from interlock.ci import evidence
from interlock.ci.build_key import bases_of, labels
from interlock.ci.builder import builder_of
from interlock.ci.evidence import Facts
from interlock.ci.gate import Scans
from interlock.ci.sbom import require_about
from interlock.ci.targets import Relation, Target
from interlock.contract import dsse, layout, oci
from interlock.contract import evidence as statements
from interlock.contract.attesters import Attester
from interlock.contract.canonical import canonical, digest
from interlock.contract.dsse import Envelope, Key
from interlock.contract.evidence import Statement
from interlock.contract.gate import Verdict
from interlock.contract.models import Model, Name
from interlock.errors import Blocked, FormatError, HostConfigError, InputError, Refused, ScanFailed

MOST_AGE = dt.timedelta(hours=24)
_SKEW = dt.timedelta(minutes=5)


class Request(Model):
    """Sign for this image, in these environments."""

    format: Literal[1] = 1
    facts: Facts
    scans: Scans
    environments: tuple[Name, ...]
    cyclonedx: str
    spdx: str


@dataclass(frozen=True)
class Signed:
    """What the signer answers: the statements' envelopes by name, and the image's own signature."""

    public: str
    payload: bytes
    signature: bytes
    envelopes: Mapping[str, Envelope]


def read_request(data: bytes) -> Request:
    try:
        return Request.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its text"
        raise InputError(
            f"the request to sign is not understood: {where}: {first['msg']}",
            hint="CI and its signer must be of one version of Interlock",
        ) from None


# what the signer asks itself -------------------------------------------------------------------------


def require_whole(request: Request, *, now: dt.datetime) -> None:
    """The parts of a request must fit each other: one image, its own documents, a run of today."""
    facts, name = request.facts, request.facts.image
    if set(request.environments) != set(request.scans.manifests) or not request.environments:
        raise _refused("request", "the environments and the scans of their manifests are not the same")
    if not now - MOST_AGE <= facts.started <= now + _SKEW:
        raise _refused("request", f"the run of {name[:100]} began at {facts.started}, which is not today")
    if facts.image_id != request.scans.image.image_id:
        raise _refused("image", f"another image was scanned than {name[:100]}: {request.scans.image.image_id[:19]}")
    for document, form, media_type in (
        (request.cyclonedx, "cyclonedx", oci.CYCLONEDX),
        (request.spdx, "spdx", oci.SPDX),
    ):
        try:
            require_about(document.encode(), form, image=name)  # type: ignore[arg-type]
        except ScanFailed as error:
            raise _refused("sbom", error.message) from None
        attached = [each.digest for each in facts.sboms if each.media_type == media_type]
        if attached != [digest(document.encode())]:
            raise _refused("sbom", f"the bill of materials ({form}) is not the one that lies in the registry")


def require_target(request: Request, bound: Iterable[Target]) -> None:
    """The bindings must give this component this image repository in each of the environments."""
    facts = request.facts
    repository = facts.image.partition("@")[0]
    given = {each.environment for each in bound if each.component == facts.component and each.image == repository}
    if strange := sorted(set(request.environments) - given):
        raise _refused(
            "binding",
            f"no binding lets {facts.source.repository} release {facts.component} as {repository} "
            f"to {', '.join(strange)}",
        )


def commits(request: Request) -> tuple[str, ...]:
    """The one that the image was built from, and the one that is released."""
    facts = request.facts
    return tuple(dict.fromkeys((facts.source.commit, facts.head or facts.source.commit)))


def require_on_branch(
    request: Request, relation: Relation, *, branch: str, head: str, commit: str | None = None
) -> None:
    """`relation` is of `commit`, without which of the one that the image was built from."""
    source = request.facts.source
    if relation not in ("same", "older"):
        named = (commit or source.commit)[:12]
        raise _refused("source", f"{source.repository} {named} is not on its branch {branch}, which is at {head[:12]}")


def require_forward(request: Request, bound: Iterable[Target], relations: Mapping[str, Relation]) -> None:
    """Nothing older than what an environment has: only people go back, by a commit of their own.

    `relations`: how the commits that are released relate to the one that is to be.
    """
    facts = request.facts
    for each in bound:
        newest = each.released.newest if each.released and each.component == facts.component else ""
        if each.environment in request.environments and relations.get(newest) == "newer":
            head = (facts.head or facts.source.commit)[:12]
            raise _refused("backwards", f"{each.environment} has {newest[:12]}, which is newer than {head}")


def require_image(request: Request, *, found: str | None, image_id: str, configuration: bytes) -> None:
    """What the registry has under the digest must be what was scanned, built from the commit that is named.

    `found` is the digest of the manifest's bytes, None when there is none; `configuration` the image's, by `image_id`.
    """
    facts = request.facts
    wanted = facts.image.partition("@")[2]
    if found != wanted:
        raise _refused("image", f"the registry does not have {facts.image[:100]}")
    if image_id != facts.image_id:
        raise _refused(
            "image", f"{facts.image[:100]} is not the image that was scanned: it is {image_id[:19]} in the registry"
        )
    said = _labels(configuration)
    wanted_labels = labels(repository=facts.source.repository, commit=facts.source.commit, component=facts.component)
    for label, value in wanted_labels.items():
        if said.get(label) != value:
            raise _refused("image", f"{facts.image[:100]} says {str(said.get(label))[:60]!r} in {label}")
    texts = {key: str(value) for key, value in said.items()}
    if not facts.given and facts.bases != bases_of(texts):
        raise _refused("image", f"{facts.image[:100]} does not say itself that it stands on these images")
    if not facts.given and facts.built_with != builder_of(texts):
        raise _refused("image", f"{facts.image[:100]} does not say itself that {facts.built_with or 'nobody'} built it")


def _labels(configuration: bytes) -> Mapping[str, Any]:
    match json.loads(configuration):
        case {"config": {"Labels": dict(found)}}:
            return found
    return {}


def require_passed(request: Request, verdicts: Mapping[str, Verdict]) -> None:
    for environment, verdict in verdicts.items():
        if not verdict.passed:
            lines = "\n".join(f"  - {reason}" for reason in verdict.reasons[:20])
            raise _refused("gate", f"{request.facts.image[:100]} may not enter {environment}:\n{lines}")


def _refused(rule: str, message: str) -> Refused:
    return Refused(f"not signed: {message}", rule=f"signer-{rule}", hint="the signer looked for itself; see its log")


# what it signs ---------------------------------------------------------------------------------------


def statements_of(
    request: Request,
    verdicts: Mapping[str, Verdict],
    *,
    builder: str,
    policy_commit: str,
    now: dt.datetime,
    branch: str = "",
    commit_key: str = "",
) -> dict[str, Statement]:
    """Everything that is said about the image, the documents themselves and the bare signature included."""
    image = request.facts.image
    return {
        **evidence.statements(
            request.facts,
            request.scans,
            verdicts,
            builder=builder,
            policy_commit=policy_commit,
            finished=now,
            branch=branch,
            commit_key=commit_key,
        ),
        "sbom-cyclonedx": Statement(image, statements.CYCLONEDX, json.loads(request.cyclonedx)),
        "sbom-spdx": Statement(image, statements.SPDX, json.loads(request.spdx)),
        "signature": Statement(image, statements.SIGNED_IMAGE, {}),
    }


def sign(key: Key, said: Mapping[str, Statement], *, image: str) -> Signed:
    repository, _, image_digest = image.partition("@")
    payload = oci.signing_payload(repository, image_digest)
    envelopes = {name: dsse.sign(key, each.payload) for name, each in said.items()}
    return Signed(key.public, payload, key.sign(payload), envelopes)


def require_no_keys(attester: Attester | None) -> None:
    """HostConfigError where the environment repository asks for a signature that this host cannot get."""
    if attester and attester.keys:
        raise HostConfigError(
            f"{attester.source}: {layout.ATTESTERS} asks for signed evidence, and this host has no signer",
            hint="`interlock register ci --signer-socket` names one; docs/evidence.md says how it is set up",
        )


def require_declared(attester: Attester | None, public: str) -> None:
    """Blocked when CD would not take this signer's word."""
    if attester and attester.keys and dsse.fingerprint(public) not in map(dsse.fingerprint, attester.keys):
        raise Blocked(
            f"{attester.source} is not released: its signer's key {dsse.fingerprint(public)} "
            f"is not in {layout.ATTESTERS}",
            hint=f"`interlock attester {attester.source} --key FILE.pub` adds it; then commit and push",
        )


# the wire --------------------------------------------------------------------------------------------


def answer(signed: Signed) -> bytes:
    return canonical(
        {
            "public": signed.public,
            "payload": base64.b64encode(signed.payload).decode(),
            "signature": base64.b64encode(signed.signature).decode(),
            "envelopes": {name: each.to_json() for name, each in signed.envelopes.items()},
        }
    )


def refusal(message: str, *, hint: str, rule: str, transient: bool) -> bytes:
    """`rule` is empty when nothing was refused, but something failed."""
    return canonical({"error": {"message": message, "hint": hint, "rule": rule, "transient": transient}})


def read_signed(read: Mapping[str, Any], *, image: str) -> Signed:
    """The answer, when it is about this image and signed throughout by the key that it names; FormatError otherwise."""
    try:
        signed = Signed(
            public=str(read["public"]),
            payload=base64.b64decode(read["payload"], validate=True),
            signature=base64.b64decode(read["signature"], validate=True),
            envelopes={str(name): dsse.read_envelope(each) for name, each in read["envelopes"].items()},
        )
        about = {statements.read_statement(each.payload).image for each in signed.envelopes.values()}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FormatError("not what a signer answers", path="signer", hint="is it of this version?") from error
    repository, _, image_digest = image.partition("@")
    if about != {image} or signed.payload != oci.signing_payload(repository, image_digest):
        raise FormatError(f"the answer is not about {image}", path="signer")
    if not dsse.is_signed(signed.public, signed.payload, signed.signature):
        raise FormatError("the image's signature is not of the key that the answer names", path="signer")
    for name, envelope in signed.envelopes.items():
        dsse.require_signed(envelope, signed.public, subject=f"the statement {name}")
    return signed


# where it goes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """The signatures, in the two forms in which cosign looks for them."""

    bundles: tuple[oci.Artifact, ...]
    signatures: tuple[oci.Layer, ...]
    attestations: tuple[oci.Layer, ...]


def kept(signed: Signed) -> Kept:
    """What is attached to the image in the registry."""
    types = {name: statements.read_statement(each.payload).predicate_type for name, each in signed.envelopes.items()}
    names = evidence.for_registry(signed.envelopes)
    return Kept(
        bundles=tuple(
            oci.bundle(name, signed.envelopes[name], predicate_type=types[name], public=signed.public) for name in names
        ),
        signatures=(oci.signature_layer(signed.payload, signed.signature, public=signed.public),),
        attestations=tuple(
            oci.attestation_layer(name, signed.envelopes[name], predicate_type=types[name], public=signed.public)
            for name in names
            if name != "signature"
        ),
    )
