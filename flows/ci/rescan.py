"""Rescan: what is released now is judged again by what is known today. Nothing is built, nothing is released."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prefect import flow
from prefect.runtime import flow_run

from flows.ci import assess
from flows.ci.assess import Ground
from flows.ci.race import fetch_environments, in_turn
from flows.ending import ending
from flows.presenter import PrefectPresenter
from interlock.ci import reports
from interlock.ci.alarm import alarms
from interlock.ci.known import proofs
from interlock.ci.rescan import Rescanned, judge_again, marks, released
from interlock.ci.targets import Target, targets
from interlock.contract.finding import Scan, not_scanned
from interlock.contract.report import Report, cell
from interlock.errors import Blocked, DockerError, InterlockError, RegistryError, ScanFailed
from tasks.ci import images, referrers
from tasks.ci import scanner as scanners
from tasks.ci.credentials import probe
from tasks.ci.forge import settle_issues
from tasks.ci.host import load_ci
from tasks.ci.release_commit import push_release
from tasks.ci.workspace import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from flows.presenter import Presenter
    from interlock.ci.host import CiHost
    from interlock.contract.host import Signing
    from tasks.common.environment_repository import VerifiedHead


@dataclass(frozen=True)
class RescanOutcome:
    """What came of judging every release again: all of them clean; the commits that say so where it was news."""

    rescanned: tuple[Rescanned, ...]
    commits: tuple[str, ...]

    def __str__(self) -> str:
        if not self.rescanned:
            return "nothing is released"
        count = len(self.rescanned)
        return f"judged {count} release{'' if count == 1 else 's'} again: clean"


@flow(name="rescan", flow_run_name="rescan what is released")
async def rescan() -> State[Any]:
    """Judge what is released now again, by its bill of materials, today's vulnerabilities and today's policy.

    Ends as Blocked when a release is not clean any more: the environment repository says so, too.
    """
    return await ending(rescan_order(PrefectPresenter(), load_ci()), str)


async def rescan_order(presenter: Presenter, host: CiHost) -> RescanOutcome:
    """Judge each released image again, and write down what the environment repository does not know yet.

    Blocked when a release is not clean, ScanFailed when one could not be judged. May be killed anywhere and run again.
    """
    await presenter.step(probe, host)
    with workspace(host.state, str(flow_run.id or uuid4())) as work:
        desired = await fetch_environments(presenter, host)
        run = _Run(presenter, host, work.run, await _ground(presenter, host, work.folder))
        rescanned: list[Rescanned] = []
        commits: list[str] = []
        waiting = [(each, image) for each in host.signings for image in released(_bound(each, desired))]
        for number, (signing, image) in enumerate(waiting):
            if image not in released(_bound(signing, desired)):
                continue  # replaced while this run went on
            await presenter.progress("rescan", 100 * number / len(waiting), f"judging {image[:100]} again")
            scan = await _scan(run, released(_bound(signing, desired))[image][0], desired, image)
            desired, found, commit = await _judge(run, signing, desired, image, scan)
            rescanned += found
            commits += [commit] if commit else []
        await presenter.progress("rescan", 100, "done")
        return await _conclude(run, RescanOutcome(tuple(rescanned), tuple(commits)))


@dataclass(frozen=True)
class _Run:
    presenter: Presenter
    host: CiHost
    id: str
    ground: Ground | ScanFailed
    """What scans stand on, or why nothing can be scanned: then the age of the last verdicts is judged all the same."""


async def _ground(presenter: Presenter, host: CiHost, folder: Path) -> Ground | ScanFailed:
    try:
        program = scanners.scanner(host)
        database = await presenter.step(scanners.check_scanner, program)
        return Ground(program, assess.checked(database), folder)
    except ScanFailed as error:
        return error


def _bound(signing: Signing, desired: VerifiedHead) -> tuple[Target, ...]:
    return targets(desired.repository, source=None, signer=signing.signer)


async def _scan(run: _Run, target: Target, desired: VerifiedHead, image: str) -> Scan:
    """By the bill of materials; without one by the image itself. What went wrong is a result: that is not clean."""
    step, ground = run.presenter.step, run.ground
    if isinstance(ground, ScanFailed):
        return not_scanned("image", ground.message)
    try:
        proof = next(proofs(desired.tree, target))
        sbom = await step(referrers.fetch_sbom, run.host.registry, proof)
    except RegistryError as error:
        run.presenter.say(f"{target.component}: {error.message}; scanning the image itself")
        return await _scan_image(run, ground, target, image)
    try:
        return await step(scanners.scan_contents, ground.scanner, sbom, database=await ground.database)
    except ScanFailed as error:
        return not_scanned("image", error.message)


async def _scan_image(run: _Run, ground: Ground, target: Target, image: str) -> Scan:
    host, (repository, _, digest) = run.host, image.partition("@")
    try:
        pulled = await run.presenter.step(
            images.pull_image,
            host.docker,
            repository=repository,
            digest=digest,
            auth=host.registry.auth,
            say=run.presenter.say,
        )
    except (RegistryError, DockerError) as error:
        return not_scanned("image", error.message)
    found = await assess.image(run.presenter, ground, host.docker, pulled.id, component=target.component)
    return found.scan


async def _judge(
    run: _Run, signing: Signing, desired: VerifiedHead, image: str, scan: Scan
) -> tuple[VerifiedHead, tuple[Rescanned, ...], str]:
    """Judge, and commit what is news. When somebody else pushed first: fetch, verify, judge again."""

    async def attempt(head: VerifiedHead) -> tuple[VerifiedHead, tuple[Rescanned, ...], str]:
        now = dt.datetime.now(dt.UTC)
        found = judge_again(head.repository, _bound(signing, head), image, scan, now=now)
        news = marks(found, scan, policy_commit=head.commit, builder=signing.signer, run=run.id, now=now)
        if news is None:
            return head, found, ""
        commit = await run.presenter.step(
            push_release,
            run.host,
            signing=signing,
            parent=head.commit,
            changes=dict(news.files),
            subject=news.subject,
            trailers=news.trailers,
        )
        return head, found, commit

    head, found, commit = await in_turn(run.presenter, run.host, desired, attempt, what=f"the rescan of {image[:100]}")
    return (await fetch_environments(run.presenter, run.host) if commit else head), found, commit


async def _conclude(run: _Run, outcome: RescanOutcome) -> RescanOutcome:
    """Show it all; Blocked or ScanFailed when something is not as it should be."""
    await run.presenter.show(reports.rescan_report(outcome.rescanned))
    for commit in outcome.commits:
        if web := run.host.environment_repository.web:
            await run.presenter.link("rescan-commit", f"{web}{commit}", f"rescan commit {commit[:12]}")
    await _alarm(run, outcome)
    _require_clean(outcome.rescanned)
    return outcome


async def _alarm(run: _Run, outcome: RescanOutcome) -> None:
    """On the forge, an issue for each component that is not clean. What cannot be said now, the next rescan says."""
    account, wanted = run.host.forges.get(run.host.environment_repository.name), alarms(outcome.rescanned)
    if account is None or not wanted:
        return
    try:
        issues = await run.presenter.step(settle_issues, account, wanted)
    except InterlockError as error:
        run.presenter.say(str(error))
        text = f"{cell(error.message)}\n\n{cell(error.hint)}\n\nThe verdicts stand in git; the next rescan tries again."
        await run.presenter.show(Report("forge", "The forge was not told what is no longer clean", text))
        return
    for each in issues:
        await run.presenter.link(f"issue-{each.number}", each.url, f"issue {each.number}: {each.title}")


def _require_clean(rescanned: Sequence[Rescanned]) -> None:
    dirty = [each for each in rescanned if not each.verdict.passed and not each.trouble]
    unknown = [each for each in rescanned if each.trouble]
    if dirty:
        raise Blocked(
            "not clean any more: " + ", ".join(dict.fromkeys(each.name for each in dirty)),
            reasons=tuple(dict.fromkeys(reason for each in dirty for reason in each.verdict.reasons)),
            hint="nothing was taken out of a cluster: release a mended version, or waive what must stay for a while",
        )
    if unknown:
        raise ScanFailed(
            "not judged again: " + ", ".join(dict.fromkeys(f"{each.name} ({each.trouble})" for each in unknown)),
            hint="start it again when the reason is gone; the last verdict stands as long as policy lets it",
        )
