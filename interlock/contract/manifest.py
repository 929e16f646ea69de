"""A rendered Kubernetes object, where each part of it comes from, and what none may have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from interlock.contract import duration
from interlock.contract.canonical import canonical, encoded
from interlock.contract.kinds import CLUSTER_SCOPED, cluster_kind
from interlock.contract.once import once
from interlock.contract.strict_yaml import Path
from interlock.contract.template import Made, Origin
from interlock.errors import RenderError


class Identity(NamedTuple):
    """What an object is to a cluster; never its version. `namespace` is empty for cluster-scoped kinds."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Manifest:
    """One object to apply. Its namespace is filled in; its images are digests."""

    body: dict[str, Any]
    application: str
    origins: Mapping[Path, Origin]
    """Of every leaf, mapping and list; a default that we filled in has none."""
    known_fingerprint: str = field(default="", repr=False, compare=False)
    """The fingerprint, where it was found before."""

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def type(self) -> tuple[str, str]:
        """`apiVersion` and `kind`."""
        return self.api_version, str(self.body["kind"])

    @once
    def identity(self) -> Identity:
        group = self.api_version.rpartition("/")[0]
        metadata = self.body["metadata"]
        return Identity(group, self.body["kind"], metadata.get("namespace", ""), metadata["name"])

    @property
    def images(self) -> tuple[str, ...]:
        """Of its containers and image volumes, by digest."""
        return tuple(sorted({str(image) for _, image in _images(self.body, ())}))

    @property
    def image_places(self) -> tuple[tuple[Path, str], ...]:
        """The same, each with its place."""
        return tuple((where, str(image)) for where, image in _images(self.body, ()))

    @property
    def canonical(self) -> bytes:
        """What is scanned, hashed and applied."""
        return canonical(self.body)

    @once
    def fingerprint(self) -> str:
        """Tells this body from any other, for caches; quicker than the digest of the canonical form."""
        return self.known_fingerprint or hashlib.blake2b(encoded(self.body), digest_size=16).hexdigest()

    def origin(self, where: Path = ()) -> Origin:
        """Of a part, or of the nearest one around it."""
        return _origin(self.origins, where)

    def within(self, where: Path) -> Path:
        """The rest of a path below the place where its expression stands: the part of that expression's value."""
        origin, outer = self.origins.get(where), where
        while outer and origin and self.origins.get(outer[:-1]) == origin:
            outer = outer[:-1]
        return where[len(outer) :]


def _origin(origins: Mapping[Path, Origin], where: Path) -> Origin:
    while where and where not in origins:
        where = where[:-1]
    return origins.get(where) or Origin("templates", 1)


def manifest(
    made: Made, *, application: str, namespaces: tuple[str, ...], cluster_kinds: Collection[str] = ()
) -> Manifest:
    """A document as a manifest of an environment that owns these namespaces, and may have these kinds beside them.

    RenderError for what may not be.
    """
    body = made.body
    if not isinstance(body, dict):
        raise _error(made, (), "is no Kubernetes object", hint="a manifest has apiVersion, kind and metadata")
    _check_head(made, body)
    _check_reserved(made, body)
    body = _in_namespace(made, body, namespaces, cluster_kinds)
    for where, image in _images(body, ()):
        _check_image(made, where, image)
    return Manifest(body, application, made.origins)


def refuse_doubles(manifests: Iterable[Manifest]) -> None:
    """Every object is made once."""
    seen: dict[Identity, Manifest] = {}
    for each in manifests:
        if first := seen.get(each.identity):
            origin, other = each.origin(), first.origin()
            message = f"{_title(each.body)} is made here and at {other.path}:{other.line}"
            raise RenderError(message, path=origin.path, line=origin.line, hint="remove one, or rename it")
        seen[each.identity] = each


def _error(made: Made, where: Path, message: str, *, hint: str = "") -> RenderError:
    origin = _origin(made.origins, where)
    subject = _title(made.body)
    return RenderError(f"{subject}: {message}", path=origin.path, line=origin.line, hint=hint)


def _title(body: object) -> str:
    """An object's name for people, as far as it has one."""
    if not isinstance(body, dict):
        return "the document"
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{body.get('kind') or 'an object'} {name or 'without a name'}"


# rules -----------------------------------------------------------------------------------------------

_API_VERSION = re.compile(r"([a-z0-9][-a-z0-9.]*/)?v[0-9][a-z0-9]*")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.:]{0,251}[A-Za-z0-9])?")
_SERVER_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
HEALTH_TIMEOUT = "interlock.dev/health-timeout"
"""The annotation that gives an object a time of its own to become healthy, such as `10m`."""
NO_PROGRESS_TIMEOUT = "interlock.dev/no-progress-timeout"
"""The same for how long it may stand still before it is failed."""
RUN = "interlock.dev/run"
"""The annotation of a Job that runs once for a release: `before` or `after` it, or `on-failure` of it."""
_RUNS = ("before", "after", "on-failure")
_LONGEST_JOB = 52
"""A Job's name has 63 characters at most, and that of a release Job gets a dash and ten digits."""
_SHORTEST_LIFE = 60
"""Seconds that a release Job must live after its end: a run may be restarted, and looks at it again."""
_RESERVED = ("applyset.kubernetes.io/", "interlock/nonce")
ROLL = "interlock.dev/roll"
"""The annotation of a ConfigMap or Secret whose content rolls the pods that use it; its one value is `true`."""
PRUNE = "interlock.dev/prune"
"""The annotation that keeps an object in the cluster when Git drops it; its one value is `never`."""


def _check_head(made: Made, body: dict[str, Any]) -> None:
    for required, form in (("apiVersion", _API_VERSION), ("kind", _KIND)):
        value = body.get(required)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise _error(
                made, (required,), f"{required} is {value!r}", hint="write it as `kubectl api-resources` shows it"
            )
    if body["kind"].endswith("List") and "items" in body:
        raise _error(made, ("kind",), "lists are not applied", hint="write each object as its own document")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        where = ("metadata", "name")
        raise _error(made, where, f"metadata.name is {name!r}", hint="every object needs a name of its own")


def _check_reserved(made: Made, body: dict[str, Any]) -> None:
    if "status" in body:
        raise _error(made, ("status",), "`status` belongs to the cluster", hint="remove it")
    metadata = body["metadata"]
    for name in _SERVER_FIELDS:
        if name in metadata:
            raise _error(made, ("metadata", name), f"`metadata.{name}` belongs to the cluster", hint="remove it")
    for kind in ("labels", "annotations"):
        entries = metadata.get(kind) or {}
        if not isinstance(entries, dict):
            raise _error(made, ("metadata", kind), f"metadata.{kind} must be a mapping")
        for key, value in entries.items():
            where = ("metadata", kind, key)
            if key.startswith(_RESERVED):
                raise _error(made, where, f"{key} is written by Interlock itself", hint="remove it")
            if not isinstance(value, str):
                raise _error(made, where, f"metadata.{kind}: {key} must be text, not {value!r}", hint="quote it")
            _check_own(made, where, value)


def _check_run(made: Made, body: dict[str, Any], where: Path, value: str) -> None:
    """A release Job is a Job, has room in its name, and can be looked at when it has ended."""
    if value not in _RUNS:
        raise _error(made, where, f"{RUN} is {value!r}", hint=f"write {', '.join(_RUNS[:-1])} or {_RUNS[-1]}")
    if (body["apiVersion"], body["kind"]) != ("batch/v1", "Job"):
        raise _error(made, where, f"{RUN} is for a Job (batch/v1)", hint="remove it, or make it a Job")
    if len(body["metadata"]["name"]) > _LONGEST_JOB:
        message = f"its name has more than {_LONGEST_JOB} characters"
        raise _error(made, ("metadata", "name"), message, hint="a digest is added to the name of a release Job")
    spec = body.get("spec")
    life = spec.get("ttlSecondsAfterFinished") if isinstance(spec, dict) else None
    if isinstance(life, int) and life < _SHORTEST_LIFE:
        message = f"ttlSecondsAfterFinished is {life}"
        hint = f"its end could pass unseen: write {_SHORTEST_LIFE} or more, or leave it out"
        raise _error(made, ("spec", "ttlSecondsAfterFinished"), message, hint=hint)


def _check_own(made: Made, where: Path, value: str) -> None:
    """Annotations that mean something to Interlock have values that it knows."""
    kind, key = where[1:]
    if kind == "annotations" and key in {HEALTH_TIMEOUT, NO_PROGRESS_TIMEOUT}:
        _check_duration(made, where, key, value)
    if kind == "annotations" and key == RUN and isinstance(made.body, dict):
        _check_run(made, made.body, where, value)
    if key == ROLL:
        _check_roll(made, where, value)
    if key == PRUNE and (kind, value) != ("annotations", "never"):
        hint = "write it as an annotation with the value `never`, or leave it out"
        raise _error(made, where, f"metadata.{kind}: {key}: {value} means nothing", hint=hint)


def _check_roll(made: Made, where: Path, value: str) -> None:
    body = made.body
    kind = (body.get("apiVersion"), body.get("kind")) if isinstance(body, dict) else ()
    if where[1] != "annotations" or value != "true" or kind not in {("v1", "ConfigMap"), ("v1", "Secret")}:
        hint = 'write it as an annotation of a ConfigMap or Secret with the value "true", or leave it out'
        raise _error(made, where, f"{ROLL}: {value} means nothing here", hint=hint)


def _check_duration(made: Made, where: Path, key: object, value: str) -> None:
    try:
        duration.seconds(value)
    except ValueError as error:
        raise _error(made, where, f"{key}: {error}", hint="write it as 90s, 10m or 1h30m") from None


def _in_namespace(
    made: Made, body: dict[str, Any], namespaces: tuple[str, ...], cluster_kinds: Collection[str]
) -> dict[str, Any]:
    """The same with its namespace: the environment's first one where none is given."""
    group, kind = body["apiVersion"].rpartition("/")[0], body["kind"]
    metadata = body["metadata"]
    # Whether a custom kind has no namespaces, only its cluster knows: CD asks there.
    if (group, kind) in CLUSTER_SCOPED or cluster_kind(group, kind) in cluster_kinds:
        _check_cluster_scoped(made, cluster_kind(group, kind), namespaces, cluster_kinds)
        return body
    namespace = metadata.get("namespace", namespaces[0])
    if namespace not in namespaces:
        where, known = ("metadata", "namespace"), ", ".join(namespaces)
        message = f"the namespace {namespace!r} is not this environment's"
        raise _error(made, where, message, hint=f"its environment.yaml gives it {known}")
    return body | {"metadata": metadata | {"namespace": namespace}}


def _check_cluster_scoped(made: Made, kind: str, namespaces: Collection[str], cluster_kinds: Collection[str]) -> None:
    assert isinstance(made.body, dict)  # noqa: S101 - looked at before
    metadata = made.body["metadata"]
    if kind not in {"Namespace", *cluster_kinds}:
        message = "belongs to no namespace, and an environment owns only what is in its namespaces"
        hint = "whoever owns the cluster applies it, or gives the environment such kinds (`cluster_kinds`)"
        raise _error(made, ("kind",), message, hint=hint)
    if kind == "Namespace" and metadata["name"] not in namespaces:
        hint = f"its environment.yaml gives it {', '.join(namespaces)}"
        raise _error(made, ("metadata", "name"), "is not this environment's", hint=hint)
    if "namespace" in metadata:
        raise _error(made, ("metadata", "namespace"), f"a {kind} is in no namespace", hint="remove the field")


_CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_IMAGE = re.compile(r"[a-z0-9.\-]+(:[0-9]+)?(/[a-z0-9._\-]+)+(:[A-Za-z0-9._\-]+)?@sha256:[0-9a-f]{64}")


def _images(value: object, where: Path) -> Iterator[tuple[Path, object]]:
    """The image of every container and image volume, wherever a pod is described."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _images(item, (*where, index))
    elif isinstance(value, dict):
        for key, entry in value.items():
            if isinstance(entry, list) and key in _CONTAINERS:
                yield from _each(entry, (*where, key), ("image",))
            elif isinstance(entry, list) and key == "volumes":
                yield from _each(entry, (*where, key), ("image", "reference"))
            yield from _images(entry, (*where, key))


def _each(items: list[Any], where: Path, field: tuple[str, ...]) -> Iterator[tuple[Path, object]]:
    for index, item in enumerate(items):
        value = item
        for key in field:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            yield (*where, index, *field), value


def _check_image(made: Made, where: Path, image: object) -> None:
    if not isinstance(image, str) or not _IMAGE.fullmatch(image):
        message = f"the image {image!r} is not given by its digest"
        raise _error(made, where, message, hint="write registry/repository@sha256:…; a tag can change under us")
