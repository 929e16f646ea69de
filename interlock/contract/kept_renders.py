"""What an application rendered to, in a form to keep, and the key that says which inputs it was made of. A cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from interlock.contract.canonical import encoded
from interlock.contract.manifest import Manifest
from interlock.contract.render import ApplicationInputs, Inputs
from interlock.contract.strict_yaml import Path
from interlock.contract.template import Origin, rows_of


def keys(given: Inputs, *, code: str) -> Mapping[str, bytes]:
    """A key for each application: the digest of all that its rendering reads, and of the code that renders."""
    ground = [code, given.environment, given.id, given.namespaces, given.cluster_kinds]
    sets = {folder: _digest([files, given.values_schemas.get(folder)]) for folder, files in given.templates.items()}
    return {each.name: _key([*ground, sets.get(each.folder, "")], each) for each in given.applications}


def _key(ground: Sequence[object], application: ApplicationInputs) -> bytes:
    a = application
    return bytes.fromhex(_digest([ground, a.name, a.values, a.components, a.folder, a.manifests, a.secrets]))


def _digest(value: object) -> str:
    return hashlib.blake2b(encoded(value), digest_size=32).hexdigest()


@dataclass(frozen=True)
class Kept:
    """An application's manifests: bodies with their fingerprints, and, apart, where each part of them comes from."""

    bodies: bytes
    origins: bytes


def may_be_kept(manifests: Sequence[Manifest]) -> bool:
    """Not where a Secret is: what is secret stays out of every file of ours."""
    return all(each.body["kind"] != "Secret" for each in manifests)


def write(manifests: Sequence[Manifest]) -> Kept | None:
    """None for what has no exact form here, such as integers of more than 64 bits."""
    try:
        bodies = orjson.dumps([[each.body, each.fingerprint] for each in manifests])
        origins = [rows_of(each.origins) for each in manifests]
        return Kept(bodies, orjson.dumps(origins))
    except TypeError:
        return None


def read(kept: Kept, *, application: str) -> tuple[Manifest, ...]:
    """What `write` was given. Origins are read when somebody asks for one: a plan rarely does."""
    origins = _Origins(kept.origins)
    return tuple(
        Manifest(body, application, _OriginsOfOne(origins, index), fingerprint)
        for index, (body, fingerprint) in enumerate(orjson.loads(kept.bodies))
    )


@dataclass(frozen=True)
class _Origins:
    data: bytes

    @cached_property
    def each(self) -> tuple[Mapping[Path, Origin], ...]:
        return tuple(
            {tuple(where): Origin(*origin) for where, origin in manifest} for manifest in orjson.loads(self.data)
        )


@dataclass(frozen=True, eq=False)
class _OriginsOfOne(Mapping[Path, Origin]):
    all: _Origins
    index: int

    def __getitem__(self, where: Path) -> Origin:
        return self.all.each[self.index][where]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.all.each[self.index])

    def __len__(self) -> int:
        return len(self.all.each[self.index])
