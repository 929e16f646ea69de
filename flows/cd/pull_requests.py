"""Pull requests: what each open one would change in this host's clusters, said on it in one comment. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.cd.poll import branch_head
from flows.cd.walk import decide, flow_run, opened
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd import plan_comment, reports
from interlock.cd.host import CdHost, PullRequests
from interlock.cd.plan_comment import Section
from interlock.cd.pull_requests import Account, PullRequest, Told, due, ground, remaining
from interlock.contract.forge import ForgeAccount
from interlock.contract.render import Rendered
from interlock.errors import ForgeError, InputError, InterlockError, Refused
from tasks.cd import pull_requests as requests
from tasks.cd.host import load_cd
from tasks.cd.record import read_mark
from tasks.common import git, renders
from tasks.common.environment_repository import VerifiedHead
from tasks.common.redaction import told_to_guessers
from tasks.common.render import render_environment


@dataclass(frozen=True)
class _Look:
    """One look at the requests."""

    presenter: Presenter
    host: CdHost
    forge: ForgeAccount
    base: str
    """The branch's commit."""
    own: Account


@dataclass(frozen=True)
class _Proposal:
    """A request's commit."""

    head: str
    verified: dict[str | None, VerifiedHead] = field(default_factory=dict)
    """By the verified head since which it was judged: environments may have different ones."""


async def pull_requests_order(presenter: Presenter, host: CdHost) -> str:
    """Plan what has moved, and see to the comments. A forge that does not answer is told of, and is no failure."""
    wanted = host.pull_requests
    if wanted is None:
        return "cd.yaml names no account that comments on pull requests"
    with requests.alone(host.state):
        try:
            return await _looked(presenter, host, wanted)
        except ForgeError as error:
            await _tell_away(presenter, error)
            return f"the forge was not told: {error.message}"


async def _looked(presenter: Presenter, host: CdHost, wanted: PullRequests) -> str:
    found = await presenter.step(requests.open_requests, wanted.forge, host.environment_repository.branch)
    told = remaining(requests.read_told(host.state), found)
    if not found:
        requests.note_told(host.state, told)
        return "no pull request is open"
    base = await presenter.step(branch_head, host)
    rests_on = ground(base, {name: _recorded(host, name) for name in host.environments})
    now = requests.now()
    asked = due(found, told, ground=rests_on, now=now, again_seconds=wanted.again_seconds)
    if not asked:
        return f"nothing new about {len(found)} open"
    look = _Look(presenter, host, wanted.forge, base, await presenter.step(requests.whose, wanted.forge))
    rows: list[tuple[str, ...]] = []
    for each in asked:
        # Before it is planned: one that ends the run does not keep the others from their turn.
        told |= {each.number: Told(each.head, rests_on, now)}
        requests.note_told(host.state, told)
        rows.append(await _commented(look, each))
    await presenter.show(reports.pull_requests_report(rows))
    return ", ".join(f"{number} {what}" for number, _, _, what in rows)


def _recorded(host: CdHost, environment: str) -> list[str | None]:
    mark = read_mark(host.state, environment)
    return [mark.verified, mark.deployed] if mark else []


async def _commented(look: _Look, request: PullRequest) -> tuple[str, ...]:
    """The row of the report: number, commit, verdicts, what became of the comment."""
    with told_to_guessers():
        head, sections = await _sections(look, request)
    host, mark = look.host, requests.mark(look.host)
    body = plan_comment.comment(
        mark=mark,
        host=host.signing.signer,
        head=head,
        branch=host.environment_repository.branch,
        base=look.base,
        sections=sections,
    )
    try:
        done = await look.presenter.step(
            requests.comment, look.forge, request.number, own=look.own, mark=mark, body=body
        )
    except ForgeError as error:
        await _tell_away(look.presenter, error)
        done = "not told"
    return str(request.number), head[:12], "; ".join(f"{each.environment}: {each.verdict}" for each in sections), done


async def _sections(look: _Look, request: PullRequest) -> tuple[str, Sequence[Section]]:
    """The commit that was looked at, and what there is to say of each environment."""
    names = sorted(look.host.environments)
    if request.fork:
        why = "its branch lies in another repository, from which nothing is fetched: push it to this one"
        return request.head, [plan_comment.not_planned(name, why, rule="fork") for name in names]
    try:
        head = await look.presenter.step(requests.fetch, look.host, look.forge.kind, request.number)
    except Refused as refusal:
        return request.head, [plan_comment.not_planned(name, refusal.message, rule=refusal.rule) for name in names]
    except InterlockError as error:
        look.presenter.say(f"pull request {request.number}: {error.message}")
        return request.head, [plan_comment.unknown(name) for name in names]
    proposal = _Proposal(head)
    return head, [await _section(look, name, proposal) for name in names]


async def _section(look: _Look, environment: str, proposal: _Proposal) -> Section:
    """What CD refuses is said with its reason; what a tool failed at is unknown, with its reason on this host alone."""
    try:
        return await _planned(look, environment, proposal)
    except Refused as refusal:
        return plan_comment.not_planned(environment, refusal.message, rule=refusal.rule)
    except InputError as error:
        return plan_comment.not_planned(environment, error.message)
    except InterlockError as error:
        look.presenter.say(f"{environment} at {proposal.head[:12]}: {error.message}")
        return plan_comment.unknown(environment)


async def _planned(look: _Look, environment: str, proposal: _Proposal) -> Section:
    host = look.host
    mark = read_mark(host.state, environment)
    since = mark.verified if mark else None
    if since not in proposal.verified:
        found = await look.presenter.step(requests.verify, host, proposal.head, base=look.base, since=since)
        proposal.verified[since] = found
    head = proposal.verified[since]
    async with opened(look.presenter, host, environment, what="plan", actor=flow_run()) as site:
        site.proposed = head
        with git.reading_also(git.mirror_path(host.state, host.environment_repository.name), requests.mirror(host)):
            decision = await decide(site)
    after = await _rendered(look, head, environment)
    quiet = plan_comment.untold(await _declared(look, environment, since=since), after)
    return plan_comment.planned(decision.plan, manager=decision.scope.manager, quiet=quiet)


async def _rendered(look: _Look, head: VerifiedHead, environment: str) -> Rendered:
    """With sealed values still sealed."""
    kept = renders.path(look.host.state)
    return await look.presenter.step(render_environment, head.repository, environment, kept=kept)


async def _declared(look: _Look, environment: str, *, since: str | None) -> Rendered | None:
    """What the branch has now; None when nobody can tell, such as for an environment that comes with the request."""
    try:
        base = await look.presenter.step(requests.verified_base, look.host, look.base, since=since)
        return await _rendered(look, base, environment) if environment in base.repository.environments else None
    except (Refused, InputError):
        return None


async def _tell_away(presenter: Presenter, error: ForgeError) -> None:
    presenter.say(f"the forge was not told: {error.message}")
    await presenter.show(reports.forge_report(error))


@flow(name="pull-requests", flow_run_name="plan the open pull requests")
async def pull_requests() -> State[Any]:
    """Say on the open pull requests of the environment repository what they would change in the clusters."""
    return await ending(pull_requests_order(PrefectPresenter(), load_cd()), str)
