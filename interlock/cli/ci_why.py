"""The command line's way to `why` on a CI host: from the source's branch to the release commit."""

from __future__ import annotations

from interlock.cd.trace import is_commit
from interlock.cd.why import Run, Source, Standing, Why, proven, report, why
from interlock.ci.host import CiHost
from interlock.cli.terminal import TerminalPresenter
from interlock.contract.brought import Brought
from interlock.contract.repository import Repository
from interlock.errors import InterlockError, ParameterError
from tasks.ci.host import load_ci
from tasks.common import git
from tasks.common.environment_repository import fetch_verified
from tasks.common.release_history import History, read_history
from tasks.common.runs import find_run


async def why_order(presenter: TerminalPresenter, what: str, environment: str | None) -> bool:
    """Shown for each environment that the source is bound to. Nothing is live as far as CI can tell."""
    if not is_commit(what):
        raise ParameterError(f"{what}: on a CI host, give a commit of a source", hint="an application: on CD's host")
    host = load_ci()
    remote = host.environment_repository
    head = await presenter.step(fetch_verified, remote, state=host.state, since=None)
    history = await presenter.step(
        read_history, remote, head.commit, state=host.state, repository=head.repository, told={}
    )
    source = await _source(presenter, host, what)
    for name in _environments(head.repository, source.repository, environment):
        await presenter.show(report(_why(what, source, name, history, head.repository)))
    return False


def _environments(repository: Repository, source: str, wanted: str | None) -> list[str]:
    bound = {name for each in repository.bindings if each.source == source for name in each.environments}
    found = sorted(bound or repository.environments)
    return [name for name in found if wanted in (None, name)]


async def _source(presenter: TerminalPresenter, host: CiHost, what: str) -> Source:
    """In which registered repository's protected branch it is, and the newest run for it."""
    asked = await presenter.step(find_run, host.prefect, what)
    run = Run(asked.name, asked.state, asked.message, asked.going) if asked else None
    for name, remote in sorted(host.repositories.items()):
        mirror = git.mirror_path(host.state, name)
        try:
            branch = git.fetch(mirror, remote)
        except InterlockError as error:
            presenter.say(f"{name}: {error.message.splitlines()[0]}")
            continue
        if commit := git.find_commit(mirror, branch, what):
            return Source(name, commit, protected=True, run=run)
    known = ", ".join(sorted(host.repositories)) or "none that is registered"
    return Source(known, what, protected=False, run=run)


def _why(what: str, source: Source, name: str, history: History, repository: Repository) -> Why:
    brought = _brought(history, name, source.commit)
    standing = Standing(
        environment=name, commit=brought.commit if brought else "", signer=brought.signer if brought else ""
    )
    told = proven(brought, history.evidence.get(brought.evidence), name) if brought else _by_run(source)
    return why(f"source {what[:12]}", told, standing, repository.signers, on_ci=True)


def _by_run(source: Source) -> Source:
    """Before there is evidence, the run's own ending is all that is known of the gate."""
    if source.run is None or source.run.going or source.run.state != "Blocked":
        return source
    return Source(
        source.repository, source.commit, source.protected, source.run, gate=False, gate_said=source.run.message
    )


def _brought(history: History, name: str, commit: str) -> Brought | None:
    return next((each for each in history.brought.get(name, {}).values() if each.source == commit), None)
