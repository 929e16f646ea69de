"""Which images the rendered objects would run: containers, volumes, injected ones, configured places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from interlock.cd.objects import subject
from interlock.contract.attesters import ImagePlace
from interlock.contract.build_sources import repository_of
from interlock.contract.manifest import Manifest
from interlock.contract.strict_yaml import Path
from interlock.contract.workloads import found, mapping


@dataclass(frozen=True)
class Used:
    """An image, and an object that would run it."""

    image: str
    """registry/repository@sha256:…, without a tag; as it is written where it has no digest."""
    subject: str
    """Such as `Deployment/shop/web`."""
    place: str
    """Such as `spec.template.spec.initContainers[0].image`."""

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]

    @property
    def where(self) -> str:
        return f"{self.subject}, {self.place}"


def used(manifests: Iterable[Manifest], places: Sequence[ImagePlace] = ()) -> tuple[Used, ...]:
    """Every image once for each place where it stands."""
    return tuple(each for manifest in manifests for each in _of(manifest, places))


def may_run(manifests: Iterable[Manifest], places: Sequence[ImagePlace] = ()) -> frozenset[str]:
    """Every image that pods may have because of these objects, whoever makes the pods: those that have a digest."""
    return frozenset(each.image for each in used(manifests, places) if each.digest)


def _of(manifest: Manifest, places: Sequence[ImagePlace]) -> Iterator[Used]:
    what = subject(manifest.identity)
    for where, image in (*manifest.image_places, *_by_others(manifest.body, ())):
        yield Used(_plain(image), what, _told(where))
    named = f"{manifest.identity.kind}.{manifest.identity.group}".removesuffix(".")
    for place in places:
        if place.kind == named:
            yield from (Used(_plain(str(image)), what, place.path) for image in found(manifest.body, place.path))


_INJECTED = frozenset(
    {
        "config.linkerd.io/debug-image",
        "config.linkerd.io/init-image",
        "config.linkerd.io/proxy-image",
        "dapr.io/sidecar-image",
        "sidecar.istio.io/proxyImage",
        "vault.hashicorp.com/agent-image",
    }
)
"""Annotations by which well-known injectors take the image of the container that they add."""


def _by_others(value: object, where: Path) -> Iterator[tuple[Path, str]]:
    """What a webhook or a volume's driver would run because the object says so."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _by_others(item, (*where, index))
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            place = (*where, key)
            if key == "annotations" and isinstance(entry, Mapping):
                yield from (((*place, name), str(image)) for name, image in entry.items() if name in _INJECTED)
            elif key == "csi" and (image := mapping(entry, ("volumeAttributes",)).get("image")):
                yield (*place, "volumeAttributes", "image"), str(image)
            else:
                yield from _by_others(entry, place)


def _plain(image: str) -> str:
    """Without the tag, which says nothing beside a digest."""
    name, at, found_digest = image.partition("@")
    return f"{repository_of(name)}@{found_digest}" if at else image


def _told(where: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")
