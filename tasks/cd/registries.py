"""Asks the registries that this host names for digests that are new here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interlock.cd import presence
from interlock.cd.cosigned import Signature, Signatures
from interlock.cd.presence import Answer
from interlock.contract import oci
from interlock.contract.host import Registry
from interlock.errors import HostConfigError, RegistryError
from tasks.common.registry import connected, path_in, read_blob, read_content

_PAYLOAD_BYTES = 64 << 10
_MOST_SIGNATURES = 50


def look_up(registries: Sequence[Registry], images: Iterable[str]) -> dict[str, Answer]:
    """By image, of those whose registry is named. A registry that is away makes them unknown, not absent."""
    known = {each.host: each for each in registries}
    asked = {image: known[host] for image in images if (host := image.partition("/")[0]) in known}
    return {image: _answer(registry, image) for image, registry in asked.items()}


def signatures_of(registries: Sequence[Registry], images: Iterable[str]) -> dict[str, Signatures]:
    """What cosign keeps beside each image. A registry that is away, or that this host does not name, is told."""
    known = {each.host: each for each in registries}
    return {image: _signatures(known.get(image.partition("/")[0]), image) for image in images}


def _signatures(registry: Registry | None, image: str) -> Signatures:
    repository, _, wanted = image.partition("@")
    if registry is None:
        return Signatures(why=f"cd.yaml of this host does not name {repository.partition('/')[0]} in `registries`")
    try:
        path, tag = path_in(registry, repository), oci.fallback_tag(wanted, ".sig")
        with connected(registry) as http:
            content, _ = read_content(http, path, tag, (oci.MANIFEST,))
            layers = oci.signatures(oci.read_json(content, subject=f"{path}:{tag}")) if content else []
            return Signatures(
                tuple(
                    Signature(read_blob(http, path, name, most=_PAYLOAD_BYTES), value)
                    for name, value in layers[:_MOST_SIGNATURES]
                )
            )
    except (RegistryError, HostConfigError) as error:
        return Signatures(why=error.message)


def _answer(registry: Registry, image: str) -> Answer:
    repository, _, wanted = image.partition("@")
    try:
        with connected(registry) as http:
            content, media_type = read_content(http, path_in(registry, repository), wanted, presence.ACCEPTED)
    except (RegistryError, HostConfigError) as error:
        return Answer("unknown", why=error.message)
    return presence.read(content, media_type, wanted=wanted)
