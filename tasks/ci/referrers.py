"""Documents and signatures about an image, in the registry beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from interlock.contract import evidence, oci
from interlock.contract.canonical import canonical
from interlock.contract.evidence import Attached, Evidence
from interlock.contract.host import Registry
from interlock.contract.oci import Artifact, Descriptor, Json, Layer
from interlock.errors import RegistryError
from tasks.common.effect import effect
from tasks.common.registry import connected, path_in, read_blob, read_content, read_manifest, require, upload

MOST_SBOM_BYTES = 64 << 20
_ATTEMPTS = 6


@effect(name="attach bills of materials", retries=2)
def attach(
    registry: Registry, *, repository: str, image_digest: str, artifacts: Sequence[Artifact]
) -> tuple[Attached, ...]:
    """Keep documents as the image's referrers; where each of them can be fetched.

    The registry must have the image. Doing it again changes nothing.
    """
    path = path_in(registry, repository)
    with connected(registry) as http:
        image = _image(http, path, image_digest)
        entries = [each.entry(image) for each in artifacts if not _attach(http, path, image, each)]
        if entries and not _lists_referrers(http, path, image_digest):
            # Clients look under this tag then.
            tag = oci.fallback_tag(image_digest)
            _change(http, path, tag, lambda old: oci.with_entries(old, entries), media_type=oci.INDEX)
    return tuple(
        Attached(
            location=f"{repository}@{each.entry(image)['digest']}",
            digest=oci.describe(each.content, each.media_type).digest,
            media_type=each.media_type,
        )
        for each in artifacts
    )


def keep_signed(
    registry: Registry,
    *,
    repository: str,
    image_digest: str,
    bundles: Sequence[Artifact],
    signatures: Sequence[Layer],
    attestations: Sequence[Layer],
) -> None:
    """Keep signatures in both places where cosign looks: as referrers, and under its older tags."""
    attach.fn(registry, repository=repository, image_digest=image_digest, artifacts=bundles)
    path = path_in(registry, repository)
    with connected(registry) as http:
        _add_layers(http, path, oci.fallback_tag(image_digest, ".sig"), signatures)
        _add_layers(http, path, oci.fallback_tag(image_digest, ".att"), attestations)


@effect(name="fetch bill of materials", retries=2)
def fetch_sbom(registry: Registry, proof: Evidence, *, media_type: str = oci.CYCLONEDX) -> bytes:
    """The bill of materials of a released image, in one of its forms.

    `proof` is the evidence that the release names, as `evidence.read_envelope` reads it from the environment
    repository. What the registry gives must have the digest that stands there. RegistryError when it is gone.
    """
    found = next((each for each in evidence.documents(proof) if each.media_type == media_type), None)
    if found is None:
        raise RegistryError(
            f"the evidence of {proof.image[:80]} names no bill of materials of the form {media_type}",
            hint="release the component once more: this version of Interlock makes both forms",
        )
    path = path_in(registry, found.location.partition("@")[0])
    with connected(registry) as http:
        return read_blob(http, path, found.digest, most=MOST_SBOM_BYTES)


def _image(http: httpx.Client, path: str, image_digest: str) -> Descriptor:
    found = read_manifest(http, path, image_digest)
    if found is None or found.digest != image_digest:
        raise RegistryError(f"{path}@{image_digest[:19]}: the registry does not have the image")
    return found.descriptor


def _attach(http: httpx.Client, path: str, image: Descriptor, artifact: Artifact) -> bool:
    """Whether the registry says that it lists it as a referrer by itself."""
    for blob in artifact.blobs:
        upload(http, path, blob)
    digest = artifact.entry(image)["digest"]
    return "OCI-Subject" in _put(http, path, digest, artifact.manifest(image), oci.MANIFEST).headers


def _lists_referrers(http: httpx.Client, path: str, image_digest: str) -> bool:
    """Some registries keep the list, and do not say so when they store a manifest."""
    return http.get(f"/v2/{path}/referrers/{image_digest}").status_code == httpx.codes.OK


def _add_layers(http: httpx.Client, path: str, tag: str, layers: Iterable[Layer]) -> None:
    wanted = tuple(layers)
    if not wanted:
        return
    for layer in wanted:
        upload(http, path, layer.content)

    def change(old: Json | None) -> dict[str, Any]:
        manifest, configuration = oci.with_layers(old, wanted)
        upload(http, path, configuration)
        return manifest

    _change(http, path, tag, change, media_type=oci.MANIFEST)


def _change(
    http: httpx.Client, path: str, tag: str, change: Callable[[Json | None], dict[str, Any]], *, media_type: str
) -> None:
    """Change what lies under a tag, until it is there: registries know no compare-and-swap.

    Another host that read before and writes after us takes ours away. CI's hosts release a repository in turn, so it
    would have to be somebody else's; doing it again puts it back.
    """
    for _ in range(_ATTEMPTS):
        content, _ = read_content(http, path, tag, (media_type,))
        old = None if content is None else oci.read_json(content, subject=f"{path}:{tag}")
        new = change(old)
        if new == old:
            return
        _put(http, path, tag, canonical(new), media_type)
    raise RegistryError(
        f"{path}:{tag}: others change it as fast as we do", hint="try again when they are done", transient=True
    )


def _put(http: httpx.Client, path: str, reference: str, manifest: bytes, media_type: str) -> httpx.Response:
    address = f"/v2/{path}/manifests/{reference}"
    answer = http.put(address, content=manifest, headers={"Content-Type": media_type})
    return require(answer, f"storing {path}:{reference[:40]}")
