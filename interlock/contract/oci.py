"""What is attached to an image in a registry, as manifests.

Sources of the forms: OCI image and distribution specification 1.1 (referrers, and the tag for registries without
them); cosign's SIGNATURE_SPEC.md (the tags `sha256-….sig` and `.att`); sigstore's bundle 0.3.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.contract import dsse
from interlock.contract.canonical import canonical, digest
from interlock.contract.dsse import Envelope
from interlock.errors import RegistryError

Json = Mapping[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"
EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_NAME = "dev.interlock.attached"
_KEY = "dev.interlock.key"


@dataclass(frozen=True)
class Descriptor:
    """A manifest in a registry."""

    media_type: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def describe(content: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type, digest(content), len(content))


# referrers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Artifact:
    """One document about an image. A later one of the same name and key takes the place of an earlier one."""

    name: str
    media_type: str
    content: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return EMPTY, self.content

    def manifest(self, image: Descriptor) -> bytes:
        """Refers to the image, which the registry then answers when it is asked what does."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": self.media_type,
                "config": describe(EMPTY, _EMPTY_TYPE).to_json(),
                "layers": [describe(self.content, self.media_type).to_json()],
                "subject": image.to_json(),
                "annotations": self._annotations,
            }
        )

    def entry(self, image: Descriptor) -> dict[str, Any]:
        """The manifest, as the list of an image's referrers has it."""
        described = describe(self.manifest(image), MANIFEST).to_json()
        return {**described, "artifactType": self.media_type, "annotations": self._annotations}

    @property
    def _annotations(self) -> dict[str, str]:
        return {_NAME: self.name, **self.annotations}


def bundle(name: str, envelope: Envelope, *, predicate_type: str, public: str) -> Artifact:
    """A signed statement in the form that cosign has since 3.0."""
    content = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": dsse.hint(public)}, "tlogEntries": []},
        "dsseEnvelope": {**envelope.to_json(), "signatures": [_bare(each) for each in envelope.signatures]},
    }
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        _KEY: dsse.fingerprint(public),
    }
    return Artifact(name, _BUNDLE, canonical(content), annotations)


def _bare(signature: dsse.Signature) -> dict[str, str]:
    return {"sig": base64.b64encode(signature.value).decode()}


def with_entries(index: Json | None, new: Iterable[Json]) -> dict[str, Any]:
    """The list of an image's referrers with these, for a registry that does not keep it by itself."""
    entries = _replaced(_entries(index, "manifests"), [dict(each) for each in new])
    return {**(index or {}), "schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


def fallback_tag(image_digest: str, kind: Literal["", ".sig", ".att"] = "") -> str:
    return image_digest.replace(":", "-", 1) + kind


# cosign's tags ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One entry of an image that is no image, in which cosign keeps signatures or attestations."""

    content: bytes
    media_type: str
    annotations: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {**describe(self.content, self.media_type).to_json(), "annotations": dict(self.annotations)}


def signing_payload(repository: str, image_digest: str) -> bytes:
    """What the signature of an image is over."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": image_digest},
        "type": "cosign container image signature",
    }
    return canonical({"critical": critical, "optional": None})


def signature_layer(payload: bytes, signature: bytes, *, public: str) -> Layer:
    annotations = {_SIGNATURE: base64.b64encode(signature).decode(), _NAME: "signature", _KEY: dsse.fingerprint(public)}
    return Layer(payload, _SIMPLE_SIGNING, annotations)


def attestation_layer(name: str, envelope: Envelope, *, predicate_type: str, public: str) -> Layer:
    annotations = {_SIGNATURE: "", "predicateType": predicate_type, _NAME: name, _KEY: dsse.fingerprint(public)}
    return Layer(canonical(envelope.to_json()), _ENVELOPE, annotations)


def signatures(manifest: Json) -> list[tuple[str, bytes]]:
    """Of what is under cosign's tag for signatures: by layer, the digest of what is signed, and the signature."""
    found: list[tuple[str, bytes]] = []
    for each in _entries(manifest, "layers"):
        annotations = each.get("annotations")
        value = annotations.get(_SIGNATURE) if isinstance(annotations, dict) else None
        if each.get("mediaType") == _SIMPLE_SIGNING and value:
            try:
                found.append((str(each["digest"]), base64.b64decode(str(value), validate=True)))
            except (ValueError, KeyError):
                continue
    return found


def with_layers(manifest: Json | None, layers: Iterable[Layer]) -> tuple[dict[str, Any], bytes]:
    """The manifest under one of cosign's tags with these layers, and its configuration.

    Others' stay, and so do ours of other names.
    """
    entries = _replaced(_entries(manifest, "layers"), [each.to_json() for each in layers])
    configuration = _configuration([_digest(each) for each in entries])
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(configuration, _CONFIG_TYPE).to_json(),
        "layers": entries,
    }, configuration


def _configuration(layers: list[str]) -> bytes:
    """Of an image that nobody runs."""
    never = "0001-01-01T00:00:00Z"
    return canonical(
        {
            "architecture": "",
            "config": {},
            "created": never,
            "history": [{"created": never} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": layers},
        }
    )


def _entries(manifest: Json | None, field_name: str) -> list[Json]:
    if manifest is None:
        return []
    found = manifest.get(field_name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise RegistryError(f"what the registry has for an image's {field_name} is not a list of them")
    return found


def _digest(entry: Json) -> str:
    match entry:
        case {"digest": str(digest)}:
            return digest
    raise RegistryError("what the registry has for an image's layers has one without a digest")


def _replaced(old: list[Json], new: list[Json]) -> list[Json]:
    """Each new one in its predecessor's place, or at the end: two who write at once agree on the order."""
    by_mark = {_mark(each): each for each in new}
    kept = [by_mark.pop(_mark(each), each) for each in old]
    return [*kept, *by_mark.values()]


def _mark(entry: Json) -> object:
    """What makes an entry the successor of another one: ours by name and key, others' are only themselves."""
    annotations = entry.get("annotations")
    if isinstance(annotations, dict) and _NAME in annotations:
        return str(annotations[_NAME]), str(annotations.get(_KEY))
    return str(entry.get("digest"))


def read_json(content: bytes, *, subject: str) -> Json:
    """A manifest or index; RegistryError when it is none."""
    try:
        found = json.loads(content)
        canonical(found)  # half a character, or no number: what we could not write again
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RegistryError(f"{subject} is not a manifest")
    return found
