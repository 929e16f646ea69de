"""The environment repository's history of releases: which commit brought which, by whom, and with what evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interlock.contract import commit as commits
from interlock.contract import evidence as evidences
from interlock.contract import layout, signature
from interlock.contract import release as releases
from interlock.contract.brought import Brought
from interlock.contract.commit import Change, RawCommit
from interlock.contract.evidence import Evidence
from interlock.contract.host import EnvironmentRemote
from interlock.contract.models import ReleasedComponent
from interlock.contract.repository import Repository
from interlock.errors import InputError, Refused
from tasks.common import git
from tasks.common.effect import effect

UNKNOWN = "an unknown key"
_MOST = 100_000


@dataclass(frozen=True)
class Changed:
    """A commit of the environment repository, whose signature it has, and the paths that it changes."""

    commit: str
    signer: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """Commits of the environment repository, and what they wrote of releases."""

    brought: Mapping[str, Mapping[tuple[str, str, str], Brought]] = field(default_factory=dict)
    """By environment; by application, component and image."""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    """By its digest."""
    commits: tuple[Changed, ...] = ()
    """Oldest first."""


@effect(name="read the history of releases")
def read_history(
    remote: EnvironmentRemote, head: str, *, state: Path, repository: Repository | None, told: Mapping[str, str]
) -> History:
    """Who released what, and the evidence that came with it, up to a commit that this host has.

    `told` says of commits whose signature they had when they were verified; of others the signers of now say it.
    """
    mirror = git.mirror_path(state, remote.name)
    raws = git.read_commits(mirror, None, head, most=_MOST)
    everybody = repository.signers if repository else ()
    signers = {signature.key_blob(key): each.name for each in everybody for key in each.all_keys}
    brought: dict[str, dict[tuple[str, str, str], Brought]] = {}
    for raw, path, changed in _written(raws, layout.parse_release):
        environment, application = path
        for component, entry in _components(mirror, changed).items():
            who, source = told.get(raw.id) or _signer(raw, signers), entry.source
            made = Brought(raw.id, who, _time(raw), source.repository, source.commit, entry.evidence)
            brought.setdefault(environment, {}).setdefault((application, component, entry.image), made)
    blobs = [changed.new_blob for _, _, changed in _written(raws, layout.parse_evidence)]
    return History(brought, _evidence(mirror, blobs), tuple(_changed(raw, told, signers) for raw in raws))


def _changed(raw: RawCommit, told: Mapping[str, str], signers: Mapping[bytes, str]) -> Changed:
    return Changed(raw.id, told.get(raw.id) or _signer(raw, signers), tuple(change.path for change in raw.changes))


def _written(raws: Iterable[RawCommit], parse: Any) -> Iterator[tuple[RawCommit, Any, Change]]:
    """The files of one sort that commits wrote, oldest first."""
    for raw in raws:
        for changed in raw.changes:
            if not changed.is_deletion and (path := parse(changed.path)):
                yield raw, path, changed


def _components(mirror: Path, changed: Change) -> Mapping[str, ReleasedComponent]:
    """What a release file names; nothing when it is no good: then its commit was never deployed."""
    text = git.read_blobs(mirror, [changed.new_blob])[changed.new_blob].decode(errors="replace")
    try:
        return releases.read(text, path=changed.path).components
    except InputError:
        return {}


def _signer(raw: RawCommit, signers: Mapping[bytes, str]) -> str:
    parsed = commits.parse(raw.data)
    try:
        return signature.verify(parsed.signature, parsed.payload, signers) if parsed.signature else "nobody"
    except Refused:
        return UNKNOWN


def _time(raw: RawCommit) -> str:
    seconds = commits.committed(raw.data)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds is not None else ""


def _evidence(mirror: Path, names: Iterable[str]) -> dict[str, Evidence]:
    found: dict[str, Evidence] = {}
    for data in git.read_blobs(mirror, set(names)).values():
        try:
            read = evidences.read_envelope(data, path="evidence")
        except InputError:
            continue
        found[read.digest] = read
    return found
