"""From a source commit to one commit in the environment repository: the order, and the flow that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.ci import assess
from flows.ci.assess import Bench, Ground
from flows.ci.publish import Candidate, Run, publish, still_open
from flows.ci.race import fetch_environments
from flows.ci.stated import stated
from flows.ci.together import known, together
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from interlock.ci import reports
from interlock.ci.build_key import build_key, labels
from interlock.ci.decided import Decided
from interlock.ci.findings import Scan
from interlock.ci.gate import asks_for_licences, build_rules
from interlock.ci.host import CiHost
from interlock.ci.targets import Released, Target, absent, already, released_commits, require_bound, targets
from interlock.contract.models import BuildRules
from interlock.errors import Blocked, InputError, Refused, Superseded
from tasks.ci import images, registry
from tasks.ci.credentials import probe
from tasks.ci.decided import standing_at, write_decided
from tasks.ci.host import load_ci
from tasks.ci.images import Image
from tasks.ci.scanner import check_scanner, scanner
from tasks.ci.source import Head, check_out, resolve_head
from tasks.ci.workspace import sweep, turn, workspace
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead

_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class ReleaseOutcome:
    """What became of a source commit: one entry for each of its bound components."""

    repository: str
    commit: str
    components: tuple[Released, ...]
    absent: tuple[str, ...]
    """Folders that are missing where a binding would allow a release."""

    @property
    def written(self) -> tuple[Released, ...]:
        return tuple(each for each in self.components if each.commit)

    @property
    def proposed(self) -> tuple[Released, ...]:
        return tuple(each for each in self.components if each.proposed)

    def __str__(self) -> str:
        missing = f"; not where {', '.join(self.absent)} is missing" if self.absent else ""
        if not self.written and not self.proposed:
            return f"{self.repository} {self.commit[:12]} is released already; nothing to do{missing}"
        places = [f"{each.component} to {', '.join(each.environments)}" for each in self.written]
        places += [f"{each.component} is proposed to {', '.join(each.proposed)}" for each in self.proposed]
        did = "released" if self.written else "judged"
        return f"{did} {self.repository} {self.commit[:12]}: {'; '.join(places)}{missing}"


@flow(name="release", flow_run_name="release {repository}")
async def release(repository: str, commit: str | None = None) -> State[Any]:
    """Build, scan, test and judge the newest commit of a protected branch, and release it where policy allows.

    Ends as Blocked with the gate's reasons, Superseded when a newer commit is released, or Completed.
    """
    return await ending(release_order(PrefectPresenter(), load_ci(), repository, commit), str)


async def release_order(presenter: Presenter, host: CiHost, repository: str, commit: str | None) -> ReleaseOutcome:
    """The walk of a commit through CI. `commit` is a hint: the protected branch's newest is what is released.

    Blocked, Superseded, CredentialFound, and other InterlockErrors when it is not. May be killed anywhere and run
    again: one image, one release commit.
    """
    probed = await presenter.step(probe, host)
    async with _turn(presenter, host, repository):
        swept = await presenter.step(sweep, host.state, host.docker)
        if swept:
            presenter.say(f"removed what {len(swept)} killed runs left")
        with workspace(host.state, str(flow_run.id or uuid4())) as work:
            head, desired = await together(
                presenter.step(resolve_head, host, repository, commit), fetch_environments(presenter, host)
            )
            await _introduce(presenter, host, head)
            async with stated(presenter, host, head, work.run, _deciding(host, head, desired)) as told:
                bound = targets(desired.repository, source=repository, signer=host.signing.signer)
                released = released_commits(bound, repository)
                checkout = await presenter.step(check_out, host, head, work.folder, released=released)
                by_component = require_bound(checkout.file, bound, source=repository, signer=host.signing.signer)
                program = scanner(host)
                licences = asks_for_licences(desired.repository.gate)
                ground = Ground(program, await presenter.step(check_scanner, program), work.folder, licences=licences)
                run = Run(presenter, host, work.run, head, checkout, probed, ground)
                return told.of(await _release_all(run, desired, by_component))


@asynccontextmanager
async def _turn(presenter: Presenter, host: CiHost, repository: str) -> AsyncIterator[None]:
    """One run at a time for a repository: two of one commit would make two images."""
    while True:
        with turn(host.state, repository) as ours:
            if ours:
                yield
                return
        await presenter.progress("turn", 0, f"another release of {repository} is under way; waiting for it")
        await asyncio.sleep(_WAIT_SECONDS)


@contextmanager
def _deciding(host: CiHost, head: Head, desired: VerifiedHead) -> Iterator[None]:
    """Remember what a commit came to, unless a tool failed: then polling tries again."""
    now = standing_at(git.mirror_path(host.state, host.environment_repository.name), desired.commit)
    try:
        yield
    except Superseded:
        write_decided(host.state, head.repository, Decided(head.commit))
        raise
    except (Blocked, InputError):
        # A change of policy may let it pass, so polling tries again when people write in the environment repository.
        write_decided(host.state, head.repository, Decided(head.commit, policy=now.policy))
        raise
    write_decided(host.state, head.repository, Decided(head.commit, places=now.places))


async def _introduce(presenter: Presenter, host: CiHost, head: Head) -> None:
    """Tell on the run's page what is being released."""
    short = head.commit[:12]
    if head.note:
        presenter.say(head.note)
    await presenter.name(f"release {head.repository} {short}")
    await presenter.tag(f"repository:{head.repository}", f"commit:{short}")
    if web := host.repositories[head.repository].web:
        await presenter.link("source-commit", f"{web}{head.commit}", f"source commit {short}")


async def _release_all(run: Run, desired: VerifiedHead, by_component: dict[str, tuple[Target, ...]]) -> ReleaseOutcome:
    """One component after the other; the sources are scanned once."""
    scanned: Sequence[Scan] = ()
    released: list[Released] = []
    for component, bound in sorted(by_component.items()):
        if not await still_open(run, bound):
            run.presenter.say(f"{component}: this commit is released already")
            released.append(already(bound))
            continue
        candidate = await _assess(run, desired, component, bound, scanned)
        scanned = candidate.source_scans
        await run.presenter.progress("release", 80, f"judging {component}")
        released.append(await publish(run, candidate, desired))
        desired = await fetch_environments(run.presenter, run.host)
    missing = absent(desired.repository, source=run.head.repository, signer=run.host.signing.signer)
    outcome = ReleaseOutcome(run.head.repository, run.head.commit, tuple(released), missing)
    await _conclude(run, outcome)
    return outcome


async def _assess(
    run: Run, desired: VerifiedHead, name: str, bound: Sequence[Target], scanned: Sequence[Scan]
) -> Candidate:
    """Scan sources and manifests while the image is built; then scan the image while its tests run."""
    presenter, component, repository = run.presenter, run.checkout.file.components[name], bound[0].image
    components = run.checkout.file.components.values()
    await presenter.tag(f"component:{name}", *(f"environment:{each.environment}" for each in bound))
    await presenter.progress("release", 10, f"building {name}")
    rules = build_rules(desired.repository.gate, [each.environment for each in bound])
    bench = Bench(run.host.docker, run.checkout.tree, rules, run.host.build_seconds, run.id)
    (pushed, image), source_scans, manifests = await together(
        _build(run, name, repository, rules),
        known(scanned) if scanned else assess.sources(presenter, run.ground, run.checkout, components),
        assess.manifests(presenter, run.ground, desired.repository, bound, known=None),
    )
    await presenter.progress("release", 50, f"scanning and testing {name}")
    image_scan, tests = await assess.image_and_tests(
        presenter, run.ground, bench, image.id, name=name, component=component
    )
    scans = (*source_scans, manifests.scan, image_scan.scan)
    await presenter.show(reports.scan_report(scans, component=name, rules=desired.repository.gate.rules))
    await presenter.show(reports.results_report(tests, component=name))
    return Candidate(
        component=name,
        repository=repository,
        image=image,
        key=_key(run, name),
        digest=pushed,
        reused=pushed is not None,
        source_scans=tuple(source_scans),
        image_scan=image_scan,
        tests=tests,
        manifests=manifests,
    )


async def _build(run: Run, name: str, repository: str, rules: Sequence[BuildRules]) -> tuple[str | None, Image]:
    """The image and, when an earlier run pushed it, its digest in the registry."""
    key = _key(run, name)
    wanted = labels(repository=run.head.repository, commit=run.head.commit, component=name)
    step, host = run.presenter.step, run.host
    found = await step(registry.find_image, host.registry, repository=repository, tag=key)
    if found:
        run.presenter.say(f"{name}: an earlier run pushed {repository}@{found.digest[:19]}; judging that")
        image = await step(
            images.pull_image, host.docker, repository=repository, digest=found.digest, auth=host.registry.auth
        )
        _require_labels(image, wanted, f"{repository}@{found.digest[:19]}")
        return found.digest, image
    image = await step(
        images.build_image,
        host.docker,
        run.checkout.tree,
        run.checkout.file.components[name],
        tag=f"{repository}:{key}",
        labels=wanted,
        seconds=host.build_seconds,
        say=run.presenter.say,
        rules=rules,
    )
    return None, image


def _require_labels(image: Image, wanted: dict[str, str], name: str) -> None:
    """What lies under the tag must at least say that it is this source's."""
    different = sorted(key for key, value in wanted.items() if image.labels.get(key) != value)
    if different:
        raise Refused(
            f"{name} lies under this commit's tag, but says something else in {', '.join(different)}",
            rule="foreign-image",
            hint="somebody else pushed it: find out who, and delete the tag",
        )


def _key(run: Run, name: str) -> str:
    recipe = run.checkout.file.components[name]
    return build_key(repository=run.head.repository, commit=run.head.commit, component=name, recipe=recipe)


async def _conclude(run: Run, outcome: ReleaseOutcome) -> None:
    """Tell what was released; Blocked when the gate kept a component out of an environment."""
    await run.presenter.progress("release", 100, "done")
    await run.presenter.show(reports.release_report(outcome.repository, outcome.commit, outcome.components))
    for each in outcome.written:
        if web := run.host.environment_repository.web:
            await run.presenter.link("release-commit", f"{web}{each.commit}", f"release commit {each.commit[:12]}")
    closed = [each for each in outcome.components if each.blocked]
    if closed:
        raise Blocked(
            "; ".join(f"{each.component} is not released to {', '.join(each.blocked)}" for each in closed),
            reasons=tuple(reason for each in closed for reason in each.reasons),
            hint="it was released to the other environments; the gate's report says what to do",
        )
