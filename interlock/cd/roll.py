"""ConfigMaps and Secrets whose content rolls the pods that use it: each content has a name of its own.

`settings` becomes `settings-1a2b3c4d`, for life, and who uses it in its application uses that name. So another content
is another object and another pod template: a roll-out, in which old pods keep the old content until they are gone, and
after which the old object is pruned like anything that Git does not name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.contract.canonical import canonical
from interlock.contract.manifest import ROLL, Manifest
from interlock.contract.render import Rendered
from interlock.errors import RenderError

_LONGEST_NAME = 253
DIGITS = 8
"""Of the digest that stands after the name."""
_POD: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_POD_OF_OTHERS = ("spec", "template", "spec")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")

Used = tuple[str, str]
"""A ConfigMap's or Secret's kind and name."""


@dataclass(frozen=True)
class Reference:
    """A place in an object that names a ConfigMap or Secret."""

    where: tuple[str | int, ...]
    kind: str
    name: str


def rolled(rendered: Rendered, *, key: bytes) -> Rendered:
    """With what rolls under the name of its content. `key` is the host's own and makes the digests of Secrets.

    RenderError when another application uses what rolls: it would not follow.
    """
    names = {
        (each.application, each.identity.namespace, each.identity.kind, each.identity.name): _named(each, key)
        for each in rendered.manifests
        if rolls(each)
    }
    if not names:
        return rendered
    owners = {(space, kind, name): application for application, space, kind, name in names}
    return replace(rendered, manifests=tuple(_rolled(each, names, owners, key) for each in rendered.manifests))


def rolls(manifest: Manifest) -> bool:
    """Whether Git says so of the object, which is a ConfigMap or a Secret then."""
    return bool((manifest.body["metadata"].get("annotations") or {}).get(ROLL) == "true")


def _named(manifest: Manifest, key: bytes) -> str:
    """The name with a digest of the content. A Secret's is keyed: nobody without the key can try values against it."""
    body = manifest.body
    content = canonical([body.get(field) for field in ("kind", "type", "data", "binaryData", "stringData")])
    if body["kind"] == "Secret":
        digest = hmac.new(key, content, hashlib.sha256).hexdigest()
    else:
        digest = hashlib.sha256(content).hexdigest()
    return f"{stem(manifest.identity.name)}-{digest[:DIGITS]}"


def stem(name: str) -> str:
    """What all names that contents give to the object of this name begin with."""
    return name[: _LONGEST_NAME - DIGITS - 1].rstrip("-.")


def _rolled(
    manifest: Manifest,
    names: Mapping[tuple[str, str, str, str], str],
    owners: Mapping[tuple[str, str, str], str],
    key: bytes,
) -> Manifest:
    body, space = manifest.body, manifest.identity.namespace
    for found in references(body):
        new = names.get((manifest.application, space, found.kind, found.name))
        if new:
            body = _with(body, found.where, new)
        elif owner := owners.get((space, found.kind, found.name)):
            origin = manifest.origin()
            raise RenderError(
                f"{manifest.identity.kind} {manifest.identity.name} uses {found.kind} {found.name}, "
                f"which the application {owner} gives a name of its content",
                path=origin.path,
                line=origin.line,
                hint=f"move it into that application, or take {ROLL} away from the {found.kind}",
            )
    if rolls(manifest):
        identity = manifest.identity
        name = names[(manifest.application, space, identity.kind, identity.name)]
        body = {**body, "immutable": True, "metadata": {**body["metadata"], "name": name}}
    return manifest if body is manifest.body else _as(manifest, body, key)


def _as(manifest: Manifest, body: dict[str, Any], key: bytes) -> Manifest:
    """With this body. A Secret's may hold what was sealed, and caches on disk have fingerprints: its is keyed."""
    secret = body["kind"] == "Secret"
    fingerprint = hmac.new(key, canonical(body), hashlib.blake2b).hexdigest()[:32] if secret else ""
    return Manifest(body, manifest.application, manifest.origins, fingerprint)


def _with(body: Any, where: tuple[str | int, ...], value: str) -> Any:
    """A copy along one path."""
    if not where:
        return value
    head, rest = where[0], where[1:]
    if isinstance(body, list):
        return [_with(item, rest, value) if index == head else item for index, item in enumerate(body)]
    return {**body, head: _with(body[head], rest, value)}


# who uses what ---------------------------------------------------------------------------------------


def references(body: Mapping[str, Any]) -> Iterator[Reference]:
    """Every place that names a ConfigMap or Secret for pods, service accounts or Ingresses."""
    if body["kind"] == "ServiceAccount":
        for field in ("imagePullSecrets", "secrets"):
            yield from _names(body, (field,), "Secret", "name")
    if body["kind"] == "Ingress":
        yield from _names(body, ("spec", "tls"), "Secret", "secretName")
    pod = _POD.get(body["kind"], _POD_OF_OTHERS)
    yield from _names(body, (*pod, "imagePullSecrets"), "Secret", "name")
    for where, volume in _items(body, (*pod, "volumes")):
        yield from _one(volume, where, ("configMap", "name"), "ConfigMap")
        yield from _one(volume, where, ("secret", "secretName"), "Secret")
        for inner, source in _items(volume, ("projected", "sources")):
            yield from _one(source, (*where, *inner), ("configMap", "name"), "ConfigMap")
            yield from _one(source, (*where, *inner), ("secret", "name"), "Secret")
    for containers in _CONTAINERS:
        for where, container in _items(body, (*pod, containers)):
            yield from _of_container(container, where)


def _of_container(container: Any, where: tuple[str | int, ...]) -> Iterator[Reference]:
    for inner, source in _items(container, ("envFrom",)):
        yield from _one(source, (*where, *inner), ("configMapRef", "name"), "ConfigMap")
        yield from _one(source, (*where, *inner), ("secretRef", "name"), "Secret")
    for inner, variable in _items(container, ("env",)):
        yield from _one(variable, (*where, *inner), ("valueFrom", "configMapKeyRef", "name"), "ConfigMap")
        yield from _one(variable, (*where, *inner), ("valueFrom", "secretKeyRef", "name"), "Secret")


def _names(body: Any, way: tuple[str, ...], kind: str, field: str) -> Iterator[Reference]:
    for where, item in _items(body, way):
        yield from _one(item, where, (field,), kind)


def _items(value: Any, way: Iterable[str]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The items of a list in a body, each with its path; none when there is no such list."""
    steps = tuple(way)
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield (*steps, index), item


def _one(value: Any, where: tuple[str | int, ...], way: tuple[str, ...], kind: str) -> Iterator[Reference]:
    for step in way:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, str):
        yield Reference((*where, *way), kind, value)
