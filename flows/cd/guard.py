"""Guard: whether forges still guard the branches, and whether the git server withholds commits; on a schedule."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.cd import guard as decide
from interlock.cd.guard import FRESHNESS, PROTECTION
from interlock.cd.host import CdHost
from interlock.contract import freshness as statements
from interlock.contract import protection
from interlock.contract.freshness import FreshnessFile, Statement, Verdict
from interlock.contract.protection import Weakening
from interlock.errors import Blocked, ClockWrong, ForgeError, GitError, InputError, InterlockError, Refused
from tasks.cd import asked, freezes
from tasks.cd.host import load_cd
from tasks.common import clock, freshness, git
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.freshness import Stated
from tasks.common.protection import doors

_HINTS = {
    PROTECTION: "undo it on the forge (`interlock protect apply`), or accept it by a commit in policy/protection.yaml",
    FRESHNESS: "a signer of policy/freshness.yaml runs `interlock protect freshness`; look after the git server",
}


_GUARD = "guard"
_MISSED = 3
"""So many looks may be missed before whoever deploys looks first."""


async def guarded_lately(presenter: Presenter, host: CdHost, head: VerifiedHead) -> None:
    """Look now, when there is something to look at and nobody did for some time: Prefect keeps the schedule, and who
    reaches Prefect can pause it. What is found freezes; what could not be asked is for the schedule to tell.
    """
    hours = asked.hours_ago(host.state, _GUARD)
    if not (host.forges or head.repository.freshness):
        return
    if hours is not None and hours * 3600 <= _MISSED * host.guard_seconds:
        return
    try:
        await guard_order(presenter, host)
    except ClockWrong:
        raise
    except InterlockError as error:
        presenter.say(f"guard: {error.message}")


def _forge(name: str) -> str:
    return f"forge/{name}"


async def guard_order(presenter: Presenter, host: CdHost) -> str:
    """Freeze the environments that something weakened concerns, and thaw those that nothing does any more.

    Blocked says what was found; a forge that could not be asked is ForgeError, and changes nothing for a day.
    """
    head = await _head(presenter, host)
    stated = await _stated(presenter, host, head.repository.freshness)
    weak, away = await _weakened(presenter, host, head)
    verdict = await _fresh(presenter, host, head, stated)
    stale = verdict.freezes if verdict else ""
    for name in host.environments:
        _settle(presenter, host, name, PROTECTION, "; ".join(weak[name]))
        _settle(presenter, host, name, FRESHNESS, stale)
    asked.note(host.state, _GUARD)
    found = [
        f"{name}: {each}"
        for name in host.environments
        for each in freezes.read(host.state, name)
        if each.cause in {PROTECTION, FRESHNESS}
    ]
    if found:
        hint = "; ".join(text for cause, text in _HINTS.items() if any(f": {cause}, " in each for each in found))
        raise Blocked("environments are frozen, and nothing new is deployed to them", reasons=tuple(found), hint=hint)
    if away:
        raise away
    return verdict.said if verdict else "guarded as wanted"


async def _stated(presenter: Presenter, host: CdHost, policy: FreshnessFile | None) -> tuple[Stated, ...]:
    if policy is None:
        return ()
    remote = host.environment_repository
    try:
        return await presenter.step(
            freshness.fetch, remote, git.mirror_path(host.state, remote.name), signers=policy.signers
        )
    except (GitError, Refused) as error:
        presenter.say(f"no statement of freshness: {error.message}")
        return ()


async def _head(presenter: Presenter, host: CdHost) -> VerifiedHead:
    """The newest verified commit, for its policy; the one before when the branch's head is refused or away.

    A commit that is not deployed yet counts too: it may be the one that accepts a weakening.
    """
    remote = host.environment_repository
    since = git.kept(git.mirror_path(host.state, remote.name))
    try:
        return await presenter.step(fetch_verified, remote, state=host.state, since=since)
    except (Refused, InputError, GitError) as error:
        if since is None:
            raise
        presenter.say(f"by the policy of {since[:12]}, verified before: {error.message}")
        return await presenter.step(read_verified, remote, state=host.state, commit=since)


async def _weakened(
    presenter: Presenter, host: CdHost, head: VerifiedHead
) -> tuple[dict[str, list[str]], ForgeError | None]:
    """By environment, why it is frozen; and the error of a forge that did not answer."""
    weak: dict[str, list[str]] = {name: [] for name in host.environments}
    shown: dict[str, tuple[Weakening, ...]] = {}
    away: ForgeError | None = None
    file, today = head.repository.protection, clock.now(host.state).date()
    for name, account in host.forges.items():
        wanted = file.wanted(name)
        try:
            settings = await presenter.step(doors.observe, account, wanted.branch)
        except ForgeError as error:
            away = error
            presenter.say(f"{name}: the forge could not be asked: {error.message}")
            why = decide.unasked(name, hours=asked.hours_ago(host.state, _forge(name)))
        else:
            asked.note(host.state, _forge(name))
            found = protection.weakenings(wanted, settings, kind=account.kind)
            shown[name] = protection.judged(found, file, repository=name, today=today)
            why = decide.weakened(name, shown[name])
        own = host.environment_repository.name
        for environment in decide.concerned(
            head.repository, name, environment_repository=own, hosted=host.environments
        ):
            weak[environment] += [why] if why else []
    if shown:
        await presenter.show(protection.report(shown))
    return weak, away


async def _fresh(presenter: Presenter, host: CdHost, head: VerifiedHead, stated: tuple[Stated, ...]) -> Verdict | None:
    """None where no freshness is asked for."""
    policy = head.repository.freshness
    if policy is None:
        return None
    verdict = _verdict(host, head, policy, stated)
    if verdict.state != "fresh":
        await presenter.show(decide.freshness_report(verdict))
    return verdict


def _verdict(host: CdHost, head: VerifiedHead, policy: FreshnessFile, stated: tuple[Stated, ...]) -> Verdict:
    remote, now = host.environment_repository, clock.now(host.state).timestamp()
    mirror = git.mirror_path(host.state, remote.name)
    why, found = f"there is no branch {statements.BRANCHES}<signer>", list[Statement]()
    for each in stated:
        if each.problem:
            why = each.problem
            continue
        try:
            found.append(
                statements.statement(
                    each.data,
                    by=each.signer,
                    policy=policy,
                    signers=head.repository.signers,
                    branch=remote.branch,
                    now=now,
                )
            )
        except Refused as refusal:
            why = refusal.message
    at = git.fetched_head(mirror) or head.commit
    missing = {each.head for each in found if not git.is_ancestor(mirror, each.head, at)}
    return statements.judged(policy, found, why=why, missing=missing, now=now)


def _settle(presenter: Presenter, host: CdHost, environment: str, cause: str, why: str) -> None:
    """Frozen for the cause while there is a reason."""
    if why and freezes.put(host.state, environment, cause=cause, reason=why, hint=_HINTS[cause]):
        presenter.say(f"{environment} is frozen: {why}")
    elif not why and freezes.lift(host.state, environment, cause=cause):
        presenter.say(f"{environment} is no longer frozen for {cause}")


@flow(name="guard", flow_run_name="look how the branches are guarded")
async def guard() -> State[Any]:
    """Look whether forges still guard the branches, and whether the git server withholds commits."""
    return await ending(guard_order(PrefectPresenter(), load_cd()), str)
