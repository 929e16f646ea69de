"""Evidence looked at before anything is written, and what this host remembers of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from interlock.cd import presence, proofs
from interlock.cd.chain import Fault
from interlock.cd.proofs import Change, Component, Entries, Memory, Policy, Proven, prove
from interlock.cd.running import used
from interlock.contract import canonical as forms
from interlock.contract import layout, release
from interlock.contract.attesters import AttestersFile
from interlock.contract.host import EnvironmentRemote, Registry
from interlock.contract.manifest import Manifest
from interlock.contract.models import ReleasedComponent
from interlock.contract.repository import Repository
from interlock.contract.tree import Tree
from interlock.contract.verification import Verified
from interlock.errors import FormatError, InterlockError, Refused
from tasks.cd.registries import look_up, signatures_of
from tasks.common import renders
from tasks.common.code import digest_of
from tasks.common.effect import effect
from tasks.common.environment_repository import read_files, read_older_attesters, read_verified
from tasks.common.file_lock import guarded
from tasks.common.render import render_environment
from tasks.common.whole_file import write_whole

_MOST_DEPLOYED = 2_000


@effect(name="verify evidence", retries=1)
def verify_evidence(
    manifests: Sequence[Manifest],
    repository: Repository,
    environment: str,
    *,
    attesters: AttestersFile | None,
    required: bool,
    deployed: str | None,
    since: str | None,
    new: Sequence[Verified],
    registries: Sequence[Registry],
    remote: EnvironmentRemote,
    state: Path,
    keeps: bool = True,
) -> Proven:
    """Every image that the manifests would run. `deployed` is the commit that was last, `new` are those after `since`.

    `keeps` remembers for the next run what was found.
    Refused when this host requires evidence and the repository declares nobody who signs it.
    """
    if attesters is None:
        raise Refused(
            f"{repository.commit[:12]}: trust/attesters.yaml is missing, and this host requires evidence",
            rule="evidence",
            hint="declare in it the public keys of CI's signers; docs/evidence.md shows one",
        )
    images = used(manifests, repository.images.places)
    known = read_deployed(state, environment)
    if deployed == repository.commit:
        note_deployed(state, environment, known := [*known, *(each.digest for each in images)])
    file = _memory_file(state, environment)
    memory = _read_memory(file)
    policy = Policy(attesters, required, dt.datetime.now(dt.UTC), _code())
    before: dict[Component, str] = {}
    by: dict[Component, Change] = {}
    if deployed and deployed != repository.commit:
        names = _touched(repository, environment, new)
        was = _entries(names, environment, deployed, remote=remote, state=state)
        by = _changers(names, repository, environment, since, new, remote=remote, state=state)
        before = _judged([(deployed, who, entry) for who, entry in was.items()], environment, by, remote, state)
        stale = proofs.brought(repository, environment, by) - {each.image.partition("@")[2] for each in was.values()}
        known = [each for each in known if each not in stale]
    back = proofs.went_back(repository, environment, before=before, by=by)
    absent = _absent(repository, registries, {each.image for each in images if each.digest not in known})
    further = {image: (*back.get(image, ()), *absent.get(image, ())) for image in {*back, *absent}}
    asked = proofs.by_signature(repository, environment, {each.image for each in images}, memory)
    signatures = signatures_of(registries, asked)
    ask = partial(
        prove, images, repository, environment, policy=policy, memory=memory, further=further, signatures=signatures
    )
    proven = ask(known=known)
    if deployed and proven.broken and deployed != repository.commit:
        known += _digests_of(deployed, environment, remote=remote, state=state)
        proven = ask(known=known)
    if keeps and proven.memory != memory:
        remember(file, proven.memory)
    return proven


def _absent(
    repository: Repository, registries: Sequence[Registry], images: Iterable[str]
) -> dict[str, tuple[Fault, ...]]:
    """By image: what the registries that this host names say against it."""
    pinned = {found for each in repository.images.third_party for found in each.digests}
    answers = look_up(registries, sorted(images))
    return {image: (fault,) for image, each in answers.items() if (fault := presence.fault(each, pinned=pinned))}


def older_attesters(
    remote: EnvironmentRemote, *, state: Path, commits: Collection[str]
) -> tuple[AttestersFile | None, ...]:
    """What the commits before declare."""
    return read_older_attesters(remote, state=state, commits=commits)


def _touched(repository: Repository, environment: str, new: Sequence[Verified]) -> tuple[str, ...]:
    """The applications whose release.yaml has changed."""
    paths = {path for each in new for path in each.paths}
    names = repository.environments[environment].applications
    return tuple(name for name in names if layout.release(environment, name) in paths)


def _entries(
    names: Sequence[str], environment: str, commit: str, *, remote: EnvironmentRemote, state: Path
) -> dict[Component, ReleasedComponent]:
    """What a commit releases of these applications."""
    paths = [layout.release(environment, name) for name in names]
    (tree,) = read_files(remote, state=state, commits=(commit,), paths=paths)
    return {(name, component): entry for name in names for component, entry in _read(tree, environment, name).items()}


def _judged(
    deployed: Iterable[tuple[str, Component, ReleasedComponent]],
    environment: str,
    by: Mapping[Component, Change],
    remote: EnvironmentRemote,
    state: Path,
) -> dict[Component, str]:
    """When CI judged the newest of what is deployed and of what machines have put away since."""
    stood = ((commit, who, entry) for who, change in by.items() for commit, entry in change.stood)
    found: dict[Component, str] = {}
    for commit, who, entry in (*deployed, *stood):
        path = layout.evidence(environment, *who, entry.image.partition("@")[2])
        (proof,) = read_files(remote, state=state, commits=(commit,), paths=[path])
        found[who] = max(found.get(who, ""), proofs.judged_at(proof, environment, *who, entry.image))
    return found


def _changers(
    names: Sequence[str],
    repository: Repository,
    environment: str,
    since: str | None,
    new: Sequence[Verified],
    *,
    remote: EnvironmentRemote,
    state: Path,
) -> dict[Component, Change]:
    """Who has changed an entry last, of those that changed after `since`."""
    paths = {name: layout.release(environment, name) for name in names}
    touching = [each for each in new if not {*paths.values()}.isdisjoint(each.paths)]
    commits = {*(each.commit for each in touching), *([since] if since else [])}
    read = read_files(remote, state=state, commits=commits, paths=[*paths.values()])
    trees = dict(zip(sorted(commits), read, strict=True))
    found: dict[Component, Change] = {}
    known = proofs.people(repository)
    for name in names:
        start = _read(trees[since], environment, name) if since else {}
        steps = [(each.signer, each.commit, _read(trees[each.commit], environment, name)) for each in touching]
        changes = proofs.changers(start, steps, at=since or "", people=known)
        found |= {(name, component): change for component, change in changes.items()}
    return found


def _read(tree: Tree, environment: str, name: str) -> Entries:
    """An application's entries; none where there is no release, or none that can be read."""
    path = layout.release(environment, name)
    with suppress(FormatError):
        return release.read(tree.text(path)).components if path in tree.files else {}
    return {}


def _digests_of(commit: str, environment: str, *, remote: EnvironmentRemote, state: Path) -> list[str]:
    """What a commit runs that was deployed, when this host has forgotten it."""
    with suppress(InterlockError):
        before = read_verified.fn(remote, state=state, commit=commit).repository
        rendered = render_environment.fn(before, environment, kept=renders.path(state))
        return [each.digest for each in used(rendered.manifests, before.images.places)]
    return []


# what is remembered ----------------------------------------------------------------------------------


def read_deployed(state: Path, environment: str) -> list[str]:
    """The digests that this host has deployed, oldest first."""
    with suppress(OSError, ValueError):
        found = json.loads(_deployed_file(state, environment).read_bytes())
        return [str(each) for each in found] if isinstance(found, list) else []
    return []


def note_deployed(state: Path, environment: str, digests: Iterable[str]) -> None:
    """These have become healthy here: age alone keeps them out no more."""
    file = _deployed_file(state, environment)
    with suppress(OSError), _alone(file):
        before, mine = read_deployed(state, environment), tuple(digests)
        after = list(dict.fromkeys((*(each for each in before if each not in mine), *mine)))[-_MOST_DEPLOYED:]
        if set(after) != set(before):
            write_whole(file, forms.canonical(after))


def _read_memory(file: Path) -> Memory:
    with suppress(OSError):
        return proofs.read_memory(file.read_bytes())
    return Memory()


def remember(file: Path, memory: Memory) -> None:
    """Beside what another run has found since this one read; a disk that is full costs the next run its time."""
    with suppress(OSError), _alone(file):
        write_whole(file, proofs.write_memory(_read_memory(file) | memory))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """No other run of this host reads the file to write it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with guarded(file.with_suffix(".lock")):
        yield


def _memory_file(state: Path, environment: str) -> Path:
    return state / "evidence" / f"{environment}.json"


def _deployed_file(state: Path, environment: str) -> Path:
    return state / "evidence" / f"{environment}.deployed.json"


def _code() -> str:
    """Which code judges."""
    return digest_of(Path(proofs.__file__).parent, Path(forms.__file__).parent)
