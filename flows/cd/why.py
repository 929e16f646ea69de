"""Why a change is not live: what this CD host knows of each gate. Reads only, and no lock is taken."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.cd.remembered import in_cluster
from flows.presenter import Presenter
from interlock.cd import outlook, trace, why
from interlock.cd.host import CdHost
from interlock.cd.progress import Progress
from interlock.cd.receipt_facts import signers_told
from interlock.cd.receipts import Entry
from interlock.cd.record import Mark, Record
from interlock.cd.release_jobs import apart
from interlock.cd.roll import rolled
from interlock.cd.why import Source, Standing, Why
from interlock.contract.brought import Brought
from interlock.contract.repository import Environment, Repository
from interlock.errors import InputError, InterlockError, ParameterError, Refused
from tasks.cd import endings, ledger, record
from tasks.cd.cluster import connect
from tasks.cd.digest_key import digest_key
from tasks.cd.observe import Observer, Patience
from tasks.cd.wait import look_closely
from tasks.common import git, renders
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.release_history import Changed, History, read_history
from tasks.common.render import render_environment
from tasks.common.runs import find_run

MOST_RECEIPTS = 50


@dataclass(frozen=True)
class _Subject:
    """What was asked for, in one environment: the commit that brings it, and the release that it is, if it is one."""

    said: str
    changed: Changed | None
    brought: Brought | None = None
    key: tuple[str, str, str] | None = None
    """Application, component and image."""


async def why_order(presenter: Presenter, host: CdHost, what: str, environments: Sequence[str]) -> tuple[Why, ...]:
    """One answer for each environment that has to do with it; ParameterError when nobody here knows it."""
    found = [await _why(presenter, host, what, name) for name in environments]
    answers = [each for each in found if each]
    reading_ = [each for each in answers if not (each.first and each.first.name == "environment")]
    if not answers:
        raise ParameterError(
            f"{what}: no commit, and no application of {', '.join(environments)}",
            hint="give a commit of a source or of the environment repository (7 to 40 hex digits), or an application",
        )
    return tuple(reading_ or answers)


async def _why(presenter: Presenter, host: CdHost, what: str, name: str) -> Why | None:
    mark = record.read_mark(host.state, name)
    head, refusal = await _head(presenter, host, mark)
    mirror = git.mirror_path(host.state, host.environment_repository.name)
    newest = git.fetched_head(mirror) or ""
    entries = await _entries(presenter, host, name)
    history = await _history(presenter, host, newest, head, entries)
    subject = _subject(what, name, history, head.repository if head else None)
    if subject is None:
        return None
    stored = await _stored(presenter, host, name, mark)
    standing = _standing(mirror, name, subject, mark=mark, stored=stored, newest=newest, refusal=refusal)
    standing = replace(
        standing,
        reads=subject.changed is None or _reads(subject.changed.paths, name, head.repository if head else None),
        ending=endings.last(host.state, name),
        began=standing.began or any(_begins(mirror, entry, standing.commit) for entry in entries),
    )
    if standing.deployed and head:
        standing = await _alive(presenter, host, standing, subject, head)
    source = await _source(presenter, host, subject, what=what, name=name, history=history, head=head)
    return why.why(subject.said, source, standing, head.repository.signers if head else ())


async def _head(
    presenter: Presenter, host: CdHost, mark: Mark | None
) -> tuple[VerifiedHead | None, InterlockError | None]:
    """The verified head of now, or the one that was verified last with what is said of the newest."""
    since, remote = (mark.verified if mark else None), host.environment_repository
    try:
        return await presenter.step(fetch_verified, remote, state=host.state, since=since), None
    except (Refused, InputError) as error:
        refusal = error
    if since is None:
        return None, refusal
    return await presenter.step(read_verified, remote, state=host.state, commit=since), refusal


async def _entries(presenter: Presenter, host: CdHost, name: str) -> tuple[Entry, ...]:
    """The newest receipts; without the ledger, those that this host saw."""
    try:
        return await presenter.step(
            ledger.tail, host.ledger, name, state=host.state, keys=ledger.keys_of(host), most=MOST_RECEIPTS
        )
    except InterlockError as error:
        presenter.say(f"the ledger: {error.message.splitlines()[0]}")
        return ()


async def _history(
    presenter: Presenter, host: CdHost, newest: str, head: VerifiedHead | None, entries: Sequence[Entry]
) -> History:
    if not newest:
        return History()
    return await presenter.step(
        read_history,
        host.environment_repository,
        newest,
        state=host.state,
        repository=head.repository if head else None,
        told=signers_told(entries),
    )


async def _stored(presenter: Presenter, host: CdHost, name: str, mark: Mark | None) -> Record | None:
    """The cluster's record; None when there is none, or the cluster does not answer."""
    if mark is None:
        return None
    try:
        return await in_cluster(presenter, host, name, environment_id=mark.environment_id)
    except InterlockError as error:
        presenter.say(f"the cluster of {name}: {error.message.splitlines()[0]}")
        return None


def _subject(what: str, name: str, history: History, repository: Repository | None) -> _Subject | None:
    """An application's newest change, a commit of the environment repository, or one of a source."""
    mine = history.brought.get(name, {})
    environment = repository.environments.get(name) if repository else None
    if environment and what in environment.applications:
        return _application(what, name, history)
    return _commit(what, history, mine, bound=_bound(name, repository)) if trace.is_commit(what) else None


def _bound(name: str, repository: Repository | None) -> bool:
    return any(name in each.environments for each in (repository.bindings if repository else ()))


def _application(what: str, name: str, history: History) -> _Subject:
    folders = (f"environments/{name}/{what}/", f"applications/{what}/")
    newest = [each for each in history.commits if any(path.startswith(folders) for path in each.paths)]
    changed = newest[-1] if newest else None
    said = f"{what}, its newest change {changed.commit[:12]}" if changed else what
    return _Subject(said, changed, *_released(history.brought.get(name, {}), changed, what))


def _commit(
    what: str, history: History, mine: Mapping[tuple[str, str, str], Brought], *, bound: bool
) -> _Subject | None:
    for each in history.commits:
        if each.commit.startswith(what):
            return _Subject(f"commit {each.commit[:12]}", each, *_released(mine, each, None))
    for key, brought in mine.items():
        if brought.source.startswith(what):
            changed = next(each for each in history.commits if each.commit == brought.commit)
            return _Subject(f"source {brought.source[:12]}", changed, brought, key)
    return _Subject(f"source {what[:12]}", None) if bound else None


def _released(
    mine: Mapping[tuple[str, str, str], Brought], changed: Changed | None, application: str | None
) -> tuple[Brought | None, tuple[str, str, str] | None]:
    """The release that a commit of the environment repository is."""
    for key, brought in mine.items():
        if changed and brought.commit == changed.commit and application in (None, key[0]):
            return brought, key
    return None, None


def _standing(
    mirror: Path,
    name: str,
    subject: _Subject,
    *,
    mark: Mark | None,
    stored: Record | None,
    newest: str,
    refusal: InterlockError | None,
) -> Standing:
    known = stored or mark
    deployed, verified = (known.deployed if known else None), (mark.verified if mark else None)
    commit = subject.changed.commit if subject.changed else ""

    def holds(later: str | None) -> bool:
        return bool(commit and later and git.is_ancestor(mirror, commit, later))

    said = outlook.ending("", refusal, dt.datetime.now(dt.UTC)) if refusal else None
    return Standing(
        environment=name,
        commit=commit,
        signer=subject.changed.signer if subject.changed else "",
        verified=holds(verified) or (refusal is None and holds(newest)),
        newest=newest,
        refusal=refusal.message if refusal else "",
        refusal_rule=said.rule if said else "",
        to_do=said.to_do if said else "",
        began=holds(stored.pending if stored else None),
        deployed=holds(deployed),
        deployed_commit=deployed or "",
    )


def _begins(mirror: Path, entry: Entry, commit: str) -> bool:
    said = entry.statement
    at = said.commit or said.verified
    return bool(said.kind == "intent" and commit and at and git.is_ancestor(mirror, commit, at))


def _reads(paths: Iterable[str], name: str, repository: Repository | None) -> bool:
    """Whether any of the paths may change what the environment renders, or its rules."""
    environment = repository.environments.get(name) if repository else None
    applications = environment.applications if environment else {}
    return any(_reads_path(path, name, applications) for path in paths)


def _reads_path(path: str, name: str, applications: Iterable[str]) -> bool:
    first, _, rest = path.partition("/")
    second = rest.partition("/")[0]
    if first == "environments":
        return second == name
    return second in applications if first == "applications" else True


async def _alive(
    presenter: Presenter, host: CdHost, standing: Standing, subject: _Subject, head: VerifiedHead
) -> Standing:
    """Of what is deployed: whether something newer replaced it, and whether it is healthy now."""
    environment = head.repository.environments.get(standing.environment)
    if environment is None:
        return standing
    superseded = _superseded(environment, subject)
    ill = "" if superseded else await _ill(presenter, host, head, environment)
    return replace(standing, superseded=superseded, ill=ill)


def _superseded(environment: Environment, subject: _Subject) -> str:
    if subject.key is None:
        return ""
    name, component, image = subject.key
    application = environment.applications.get(name)
    entry = application.release.components.get(component) if application and application.release else None
    if entry is None or entry.image == image:
        return ""
    return f"{name}/{component} is at source {entry.source.commit[:12]} now"


async def _ill(presenter: Presenter, host: CdHost, head: VerifiedHead, environment: Environment) -> str:
    try:
        seen = await _seen(presenter, host, head, environment)
    except InterlockError as error:
        return f"its health cannot be told: {error.message.splitlines()[0]}"
    return "" if seen.done else (seen.problem or f"{seen.healthy} of {seen.total} objects are healthy: {seen.note}")


async def _seen(presenter: Presenter, host: CdHost, head: VerifiedHead, environment: Environment) -> Progress:
    kubeconfig = host.clusters[host.environments[environment.name].cluster].kubeconfig
    rendered = await presenter.step(
        render_environment, head.repository, environment.name, kept=renders.path(host.state)
    )
    with connect(kubeconfig) as cluster:
        observer = Observer(cluster, Patience.of(head.repository, environment))
        live = apart(rolled(rendered, key=digest_key(host.state)))
        return await presenter.step(look_closely, observer, live.manifests)


async def _source(
    presenter: Presenter,
    host: CdHost,
    subject: _Subject,
    *,
    what: str,
    name: str,
    history: History,
    head: VerifiedHead | None,
) -> Source | None:
    """None for a change that people made in the environment repository."""
    if subject.brought:
        return why.proven(subject.brought, history.evidence.get(subject.brought.evidence), name)
    if subject.changed:
        return None
    bindings = head.repository.bindings if head else ()
    sources = sorted({each.source for each in bindings if name in each.environments})
    repository = sources[0] if len(sources) == 1 else "its source repository"
    asked = await presenter.step(find_run, host.prefect, what)
    run = why.Run(asked.name, asked.state, asked.message, asked.going) if asked else None
    return Source(repository, what, run=run)
