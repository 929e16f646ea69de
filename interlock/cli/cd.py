"""The command line's way into CD: loaded only by the commands that need a CD host."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path

from flows.cd import deploy, plan, take_over
from interlock.cd import plan_report, reviewed
from interlock.cd.host import CdHost
from interlock.cd.outlook import outlook
from interlock.cd.plan import Action
from interlock.cd.progress import Progress
from interlock.cd.receipts import Entry
from interlock.cd.record import Record
from interlock.cd.release_jobs import apart
from interlock.cd.reports import health_report
from interlock.cd.reviewed import Reviewed
from interlock.cd.roll import rolled
from interlock.cli import standing
from interlock.cli.standing import Release, Standing
from interlock.cli.state import require_own
from interlock.cli.terminal import TerminalPresenter
from interlock.contract.repository import Environment
from interlock.errors import Blocked, InputError, InterlockError, ParameterError, Refused, ToolError
from tasks.cd import endings, freezes, ledger, record
from tasks.cd.cluster import connect
from tasks.cd.digest_key import digest_key
from tasks.cd.host import load_cd
from tasks.cd.observe import Observer, Patience
from tasks.cd.wait import look_closely
from tasks.common import git, renders
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.render import render_environment


def registered(environment: str | None) -> tuple[CdHost, tuple[str, ...]]:
    """This host's configuration, and the environments of it that are asked for."""
    host = load_cd()
    require_own(host.state, half="CD")
    if environment is None:
        return host, tuple(host.environments)
    if environment not in host.environments:
        known = ", ".join(host.environments) or "none"
        raise ParameterError(f"environment {environment} is not registered on this host", hint=f"it knows {known}")
    return host, (environment,)


async def plan_order(
    presenter: TerminalPresenter,
    environment: str,
    revision: str | None,
    *,
    prove_all: bool = False,
    everything: bool = False,
) -> int:
    """The flow's own order. Its exit code as `kubectl diff` has them: 0 when all is as Git says, 1 when something
    differs, more when it cannot be told.
    """
    host, _ = registered(environment)
    try:
        found = await plan.plan_order(
            presenter, host, environment, revision, actor=_actor(), prove_all=prove_all, everything=everything
        )
    except Blocked as blocked:
        # Its own code is that of a difference, and there is no plan that could differ.
        raise InputError(blocked.message, hint=blocked.hint) from None
    if found.having(Action.UNKNOWN):
        return ToolError.exit_code
    if why := plan_report.untouched(found):
        presenter.say(why)
    return 0 if len(found.having(Action.UNCHANGED)) == len(found.items) else 1


async def sync_order(
    presenter: TerminalPresenter, environment: str, plan: Path | None, *, prove_all: bool = False
) -> None:
    """The flow's own order, under the same lock; with a plan's file just that plan, or nothing."""
    host, _ = registered(environment)
    found = _reviewed(plan) if plan else None
    await deploy.deploy_order(presenter, host, environment, actor=_actor(), reviewed=found, prove_all=prove_all)


async def take_over_order(
    presenter: TerminalPresenter, environment: str, objects: Sequence[str], managers: Sequence[str]
) -> take_over.Proposal:
    """The flow's own order: what a commit has to say, and what it would change."""
    host, _ = registered(environment)
    return await take_over.take_over_order(presenter, host, environment, objects, managers, actor=_actor())


def _reviewed(file: Path) -> Reviewed:
    try:
        return reviewed.read(file.read_text(), path=str(file))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text", hint="make one: interlock plan ENV --output json > FILE") from None


def _actor() -> str:
    """Who is at the command line, for the ledger."""
    return f"command line: {getpass.getuser()}"


async def status_order(presenter: TerminalPresenter, environment: str | None) -> bool:
    """Show what verified commits, the ledger and the cluster's record say; whether anything is wrong.

    Of one environment also the health of its applications, at the verified commit.
    """
    host, names = registered(environment)
    found: list[Release] = []
    stood: list[Standing] = []
    for name in names:
        releases, standing_ = await _stand(presenter, host, name, closely=environment is not None)
        found += releases
        stood.append(standing_)
    await presenter.show(standing.report(found, stood, title=standing.title(stood)))
    for each in stood:
        if each.health and not each.health.done:
            await presenter.show(health_report(each.environment, each.health))
    return any(each.wrong for each in stood)


async def _stand(
    presenter: TerminalPresenter, host: CdHost, name: str, *, closely: bool
) -> tuple[tuple[Release, ...], Standing]:
    mark = record.read_mark(host.state, name)
    problems: list[str] = []
    head, refusal = await _head(presenter, host, since=mark.verified if mark else None, problems=problems)
    environment = head.repository.environments.get(name) if head else None
    if head and environment is None and refusal is None:
        problems.append("the environment repository does not have it")
    last = await _last(presenter, host, name, problems)
    stored = await _stored(presenter, host, environment, problems) if environment else None
    known = stored or mark
    problems += [f"frozen: {each}" for each in freezes.read(host.state, name)]
    health = await _health(presenter, host, head, environment, problems) if closely and head and environment else None
    deployed, pending = (known.deployed or "") if known else "", (stored.pending or "") if stored else ""
    newest = _newest(host)
    ended = endings.last(host.state, name)
    result = Standing(
        environment=name,
        cluster=host.environments[name].cluster,
        verified=head.commit if head else "",
        deployed=deployed,
        pending=pending,
        last=last.statement.kind if last else "",
        time=last.receipt.time if last else "",
        outcome=last.statement.outcome if last else "",
        problem="; ".join(problems),
        outlook=outlook(name, newest, deployed=deployed, pending=pending, refusal=refusal, last=ended)
        if newest
        else None,
        health=health,
    )
    released = standing.releases([environment], head.tree) if head and environment else ()
    return released, result


async def _health(
    presenter: TerminalPresenter, host: CdHost, head: VerifiedHead, environment: Environment, problems: list[str]
) -> Progress | None:
    """How the objects of the verified commit live; None when they cannot be rendered, or the cluster not be seen."""
    kubeconfig = host.clusters[host.environments[environment.name].cluster].kubeconfig
    try:
        rendered = await presenter.step(
            render_environment, head.repository, environment.name, kept=renders.path(host.state)
        )
        with connect(kubeconfig) as cluster:
            observer = Observer(cluster, Patience.of(head.repository, environment))
            # As a run names them: what rolls has its content in its name, and a release's Job is gone when it may be.
            live = apart(rolled(rendered, key=digest_key(host.state)))
            seen = await presenter.step(look_closely, observer, live.manifests)
    except InterlockError as error:
        problems.append(error.message.splitlines()[0])
        return None
    if seen.problem or not seen.done:
        problems.append(seen.problem or f"{seen.healthy} of {seen.total} objects are healthy")
    return seen


async def _head(
    presenter: TerminalPresenter, host: CdHost, *, since: str | None, problems: list[str]
) -> tuple[VerifiedHead | None, InterlockError | None]:
    """The verified head; after a refusal, which comes with it, or without the network, what was verified last."""
    remote = host.environment_repository
    refusal: InterlockError | None = None
    try:
        return await presenter.step(fetch_verified, remote, state=host.state, since=since), None
    except (Refused, InputError) as error:
        refusal = error
    except InterlockError as error:
        problems.append(error.message.splitlines()[0])
    if since is None:
        return None, refusal
    return await presenter.step(read_verified, remote, state=host.state, commit=since), refusal


async def _last(presenter: TerminalPresenter, host: CdHost, name: str, problems: list[str]) -> Entry | None:
    """The newest receipt; None when there is none, or the ledger does not answer."""
    try:
        return await presenter.step(ledger.last, host.ledger, name, state=host.state, keys=ledger.keys_of(host))
    except ToolError as error:
        problems.append(error.message.splitlines()[0])
        return None


def _newest(host: CdHost) -> str | None:
    """The branch's newest commit that anybody here has fetched; None when there is none, or the mirror is no good."""
    try:
        return git.fetched_head(git.mirror_path(host.state, host.environment_repository.name))
    except InterlockError:  # told by the fetch before
        return None


async def _stored(
    presenter: TerminalPresenter, host: CdHost, environment: Environment, problems: list[str]
) -> Record | None:
    """The record in the cluster; None when there is none, or the cluster does not answer."""
    ceiling = host.environments[environment.name]
    try:
        with connect(host.clusters[ceiling.cluster].kubeconfig) as cluster:
            stored = await presenter.step(
                record.read_stored, cluster, control_namespace=ceiling.control_namespace, environment_id=environment.id
            )
    except ToolError as error:
        problems.append(error.message.splitlines()[0])
        return None
    return stored.record
