"""From a source commit to one commit in the environment repository: the order, and the flow that runs it."""

from __future__ import annotations

import asyncio
import tempfile
from asyncio import Future, Semaphore
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.ci import assess
from flows.ci.assess import Bench, Ground, Manifests
from flows.ci.clock import Clock
from flows.ci.publish import Candidate, Run, publish
from flows.ci.race import fetch_environments
from flows.ci.reuse import Given, Left, look_up
from flows.ci.stated import stated
from flows.ci.together import all_of, together
from flows.ending import ending
from flows.presenter import PrefectPresenter, Presenter
from flows.trail import about, start
from flows.trail import shared as shared_by_all
from interlock.ci import reports
from interlock.ci.build_key import REVISION, labels
from interlock.ci.decided import Decided
from interlock.ci.gate import asks_for_licences, build_rules
from interlock.ci.host import CiHost
from interlock.ci.junit import TestRun
from interlock.ci.outcome import failed, outcome_error
from interlock.ci.stages import stages_report
from interlock.ci.targets import Released, Target, absent, nowhere, released_commits, require_bound, targets
from interlock.contract import source_rule
from interlock.contract.commit import COMMIT_ID
from interlock.contract.finding import Database, Scan
from interlock.contract.gate import NOT_SCANNED
from interlock.contract.models import BuildRules
from interlock.errors import Blocked, InputError, InterlockError, Refused, Superseded, Unbound
from tasks.ci import built, images
from tasks.ci.builder import choose_builder
from tasks.ci.credentials import probe
from tasks.ci.decided import standing_at, write_decided
from tasks.ci.host import load_ci
from tasks.ci.images import Image
from tasks.ci.kept import Kept
from tasks.ci.scanner import ImageScan, Scanner, check_scanner, scanner
from tasks.ci.source import Head, check_out, relate, require_signed, resolve_head
from tasks.ci.workspace import sweep, turn, workspace
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead
from tasks.common.registry import Manifest

_WAIT_SECONDS = 1.0
Places = frozenset[tuple[str, str]]
"""Environments and applications."""


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
    return await ending(in_own_process(PrefectPresenter(), repository, commit), str)


async def in_own_process(
    presenter: Presenter,
    repository: str,
    commit: str | None,
    *,
    host: CiHost | None = None,
    given: Given | None = None,
) -> ReleaseOutcome:
    """The order, where nothing else runs in this process: a killed run's temporary files are swept with it then."""
    host = host or load_ci()
    with workspace(host.state, f"{flow_run.id or uuid4()}.temporary") as own:
        tempfile.tempdir = str(own.folder)
        try:
            return await release_order(presenter, host, repository, commit, given=given)
        finally:
            tempfile.tempdir = None


async def release_order(
    presenter: Presenter, host: CiHost, repository: str, commit: str | None, *, given: Given | None = None
) -> ReleaseOutcome:
    """The walk of a commit through CI. `commit` is a hint: the protected branch's newest is what is released.

    Blocked, Superseded, CredentialFound, and other InterlockErrors when it is not. May be killed anywhere and run
    again: one image, one release commit. However it ends, the page tells what the time went to.

    `given`: another builder's image is judged, and nothing is built.
    """
    clock = Clock()
    try:
        outcome = await _walk(presenter, host, repository, commit, clock=clock, given=given)
    except InterlockError:
        await presenter.show(stages_report(clock.stages))
        raise
    await presenter.show(stages_report(clock.stages))
    return outcome


async def _walk(
    presenter: Presenter, host: CiHost, repository: str, commit: str | None, *, clock: Clock, given: Given | None
) -> ReleaseOutcome:
    probed = await presenter.step(probe, host)
    async with _turn(presenter, host, repository):
        swept = await presenter.step(sweep, host.state, host.docker)
        if swept:
            presenter.say(f"removed what {len(swept)} killed runs left")
        with workspace(host.state, str(flow_run.id or uuid4())) as work:
            with clock.stage("fetch"):
                head, desired = await together(
                    presenter.step(resolve_head, host, repository, commit), fetch_environments(presenter, host)
                )
            await _introduce(presenter, host, head)
            async with stated(presenter, host, head, work.run, _deciding(host, head, desired)) as told:
                commit_key = await _signed_as_ruled(presenter, host, head, desired)
                signer = host.signing_of(repository).signer
                bound = targets(desired.repository, source=repository, signer=signer)
                if not bound:
                    raise nowhere(repository, signer)
                released = released_commits(bound, repository)
                with clock.stage("check out"):
                    checkout = await presenter.step(check_out, host, head, work.folder, released=released)
                by_component = require_bound(checkout.file, bound, source=repository, signer=signer)
                with clock.stage("look up what is built"):
                    builder = await presenter.step(choose_builder, host)
                    presenter.say(builder.said)
                    plan = await look_up(
                        presenter,
                        host,
                        head,
                        checkout,
                        desired=desired,
                        by_component=by_component,
                        buildkit=builder.buildkit,
                        given=given,
                    )
                settled = dict(plan.settled)
                if plan.left:
                    program, licences = scanner(host), asks_for_licences(desired.repository.gate)
                    database = start(_check_scanner(presenter, clock, program))
                    kept = Kept(host.state / "kept", repository)
                    ground = Ground(program, database, work.folder, licences=licences, kept=kept)
                    alone = len(plan.left) == 1
                    run = Run(presenter, host, work.run, head, checkout, probed, ground, clock, alone, commit_key)
                    settled |= await _release_left(run, desired, plan.left)
                return told.of(await _conclude(presenter, host, head, desired, settled, builder=builder.said))


async def _check_scanner(presenter: Presenter, clock: Clock, program: Scanner) -> Database:
    with clock.stage("check scanner"):
        return await presenter.step(check_scanner, program)


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
    """Remember what a commit came to, unless a tool failed, a scanner included: then polling tries again."""
    now = standing_at(git.mirror_path(host.state, host.environment_repository.name), desired.commit)
    try:
        yield
    except Superseded:
        write_decided(host.state, head.repository, Decided(head.commit))
        raise
    except Unbound:
        write_decided(host.state, head.repository, Decided(head.commit, places=now.places))
        raise
    except (Blocked, InputError) as error:
        # A change of policy may let it pass, so polling tries again when people write in the environment repository.
        if not (isinstance(error, Blocked) and error.passing):
            write_decided(host.state, head.repository, Decided(head.commit, policy=now.policy))
        raise
    write_decided(host.state, head.repository, Decided(head.commit, places=now.places))


async def _signed_as_ruled(presenter: Presenter, host: CiHost, head: Head, desired: VerifiedHead) -> str:
    """By whose key the commit is signed, where the source has a rule for it; Blocked when by none of those."""
    file = desired.repository.attesters
    attester = file.of(head.repository) if file else None
    if attester is None or not source_rule.asks(attester):
        return ""
    return await presenter.step(require_signed, host, head, attester)


async def _introduce(presenter: Presenter, host: CiHost, head: Head) -> None:
    """Tell on the run's page what is being released."""
    short = head.commit[:12]
    if head.note:
        presenter.say(head.note)
    await presenter.name(f"release {head.repository} {short}")
    await presenter.tag(f"repository:{head.repository}", f"commit:{short}")
    if web := host.repositories[head.repository].web:
        await presenter.link("source-commit", f"{web}{head.commit}", f"source commit {short}")


async def _release_left(run: Run, desired: VerifiedHead, left: Mapping[str, Left]) -> dict[str, Released]:
    """The components side by side, each on its own: what became of each. Fails by what concerns all of them."""
    shared = _Shared(
        start(_scan_sources(run)),
        _scan_manifests(run, desired, [each.bound for each in left.values()]),
    )
    slots = asyncio.Semaphore(run.host.components_at_once)
    walks = (_release_one(run, desired, each, shared, slots) for each in left.values())
    await_shared = together(run.ground.database, shared.sources, all_of(map(_ended, shared.manifests.values())))
    _, fates = await together(await_shared, all_of(walks))
    return dict(zip(left, fates, strict=True))


@dataclass(frozen=True)
class _Shared:
    """What is scanned once for several components. Whoever waits for it shields it from his own end."""

    sources: Future[tuple[Scan, ...]]
    manifests: Mapping[Places, Future[Manifests]]


def _places(bound: Iterable[Target]) -> Places:
    """The applications whose manifests a component is judged by."""
    return frozenset((each.environment, each.application) for each in bound)


def _scan_manifests(
    run: Run, desired: VerifiedHead, components: Iterable[Sequence[Target]]
) -> Mapping[Places, Future[Manifests]]:
    """Once for all components of the same applications."""
    bounds = {_places(bound): bound for bound in components}
    return {places: start(_scan_manifests_of(run, desired, bound)) for places, bound in bounds.items()}


async def _scan_manifests_of(run: Run, desired: VerifiedHead, bound: Sequence[Target]) -> Manifests:
    with run.clock.stage("scan manifests"):
        return await assess.manifests(run.presenter, run.ground, desired.repository, bound, known=None)


async def _ended(shared: Awaitable[object]) -> None:
    """Its failure is told by the components that need it."""
    with suppress(InterlockError):
        await shared


async def _scan_sources(run: Run) -> tuple[Scan, ...]:
    """Once for all components. Without a result none can be released, so there is no use in building on."""
    with run.clock.stage("scan sources"):
        scans = await assess.sources(run.presenter, run.ground, run.checkout, run.checkout.file.components.values())
    if failed := [scan for scan in scans if scan.failure]:
        raise Blocked(
            f"{run.head.repository} {run.head.commit[:12]} is not released",
            reasons=tuple(f"{scan.subject}: {NOT_SCANNED}: {scan.failure}" for scan in failed),
            hint="nothing was built or tested further, and nothing was pushed",
            passing=True,
        )
    return scans


async def _release_one(run: Run, desired: VerifiedHead, left: Left, shared: _Shared, slots: Semaphore) -> Released:
    """One component's whole way. Its failure is its own: the others go on."""
    name = left.bound[0].component
    try:
        with about(name):
            async with slots:
                candidate = await _assess(run, desired, name, left, shared)
            await run.presenter.progress(f"release-{name}", 80, f"judging {name}")
            with run.clock.stage("judge, push and release"):
                released = await publish(run, candidate, desired)
    except InterlockError as error:
        run.presenter.say(f"{name}: {error}")
        released = failed(left.bound, error)
    await run.presenter.progress(f"release-{name}", 100, f"{name}: {released.said}")
    return released


async def _assess(run: Run, desired: VerifiedHead, name: str, left: Left, shared: _Shared) -> Candidate:
    """Build, then scan the image while its tests run; meanwhile sources and manifests are scanned."""
    presenter, bound = run.presenter, left.bound
    await presenter.tag(f"component:{name}", *(f"environment:{each.environment}" for each in bound))
    (made, image_scan, tests), manifests = await together(
        _image(run, name, left, build_rules(desired.repository.gate, [each.environment for each in bound])),
        shared_by_all(shared.manifests[_places(bound)]),
    )
    source_scans = await shared_by_all(shared.sources)
    scans = (*source_scans, manifests.scan, image_scan.scan)
    await presenter.show(reports.scan_report(scans, component=name, rules=desired.repository.gate.rules))
    await presenter.show(reports.results_report(tests, component=name, log=str(run.log(name, "tests").path)))
    return Candidate(
        component=name,
        repository=bound[0].image,
        image=made.image,
        key=left.key,
        digest=made.digest,
        reused=made.digest is not None,
        built=made.commit,
        source_scans=tuple(source_scans),
        image_scan=image_scan,
        tests=tests,
        manifests=manifests,
        given=left.given,
    )


@dataclass(frozen=True)
class _Built:
    """An image of the daemon; `digest` is the registry's, None until it is pushed. It was built from `commit`."""

    image: Image
    digest: str | None
    commit: str


async def _image(run: Run, name: str, left: Left, rules: Sequence[BuildRules]) -> tuple[_Built, ImageScan, TestRun]:
    """The image, and what scan and tests say of it."""
    presenter, component = run.presenter, run.checkout.file.components[name]
    await presenter.progress(f"release-{name}", 10, f"building {name}")
    with run.clock.stage("pull" if left.found else "build"):
        made = (
            await _given(run, left) if left.given else await _found(run, left) or await _build(run, name, left, rules)
        )
    await presenter.progress(f"release-{name}", 50, f"scanning and testing {name}")
    host, tree = run.host, run.checkout.tree
    bench = Bench(
        *(host.docker, tree, rules, host.build_seconds, run.id, left.via, run.ground.folder, host.build_limits),
        logs=run.log,
    )
    with run.clock.stage("scan image and test"):
        image_scan, tests = await assess.image_and_tests(
            presenter, run.ground, bench, made.image.id, name=name, component=component
        )
    return made, image_scan, tests


async def _found(run: Run, left: Left) -> _Built | None:
    """What an earlier run pushed, built from the same inputs by this commit or one before it."""
    if left.found is None:
        return None
    image, said = await _pulled(run, left.bound[0], left.found)
    commit = _commit_of(
        image,
        run.head.repository,
        left.bound[0].component,
        foreign=f"{said} lies under the tag of these inputs, but",
        hint="somebody else pushed it: find out who, and delete the tag",
    )
    name, repository = left.bound[0].component, run.head.repository
    if not left.told and not built.is_built_here(run.host.state, repository, key=left.key, image_id=image.id):
        # Who may push to the registry can write such a tag, and such labels.
        run.presenter.say(f"{name}: {said} is none that this host built, nor does evidence tell of it; built again")
        return None
    if not COMMIT_ID.fullmatch(commit) or not await _is_ours(run, commit):
        run.presenter.say(f"{name}: {said} was built from {commit[:12]}, which is not part of the branch; built again")
        return None
    return _Built(image, left.found.digest, commit)


async def _given(run: Run, left: Left) -> _Built:
    """What another builder pushed, who says in its labels that it was built from this very commit."""
    assert left.found is not None  # noqa: S101 - who gives one says which
    image, said = await _pulled(run, left.bound[0], left.found)
    component, repository = left.bound[0].component, run.head.repository
    wanted = " ".join(
        f"--label {key}={value}"
        for key, value in labels(repository=repository, commit=run.head.commit, component=component).items()
    )
    commit = _commit_of(image, repository, component, foreign=said, hint=f"build it with {wanted}")
    if commit == run.head.commit:
        return _Built(image, left.found.digest, commit)
    if COMMIT_ID.fullmatch(commit) and await _is_ours(run, commit):
        raise Superseded(f"{said} was built from {commit[:12]}, and {run.head.commit[:12]} is newer on the branch")
    raise Refused(
        f"{said} was built from {commit[:40]}, which is not part of the protected branch",
        rule="foreign-image",
        hint=f"build {run.head.commit}",
    )


async def _pulled(run: Run, target: Target, found: Manifest) -> tuple[Image, str]:
    """The image, and how it is called in messages."""
    image = await run.presenter.step(
        images.pull_image,
        run.host.docker,
        repository=target.image,
        digest=found.digest,
        auth=run.host.registry.auth,
        say=run.presenter.say,
    )
    return image, f"{target.image}@{found.digest[:19]}"


def _commit_of(image: Image, repository: str, component: str, *, foreign: str, hint: str) -> str:
    """The commit that an image says it was built from; Refused when it does not say that it is this component's."""
    commit = image.labels.get(REVISION, "")
    wanted = labels(repository=repository, commit=commit, component=component)
    if different := sorted(key for key, value in wanted.items() if not value or image.labels.get(key) != value):
        raise Refused(f"{foreign} says something else in {', '.join(different)}", rule="foreign-image", hint=hint)
    return commit


async def _is_ours(run: Run, commit: str) -> bool:
    relations = await run.presenter.step(relate, run.host, run.head, [commit])
    return relations[commit] in ("same", "older")


async def _build(run: Run, name: str, left: Left, rules: Sequence[BuildRules]) -> _Built:
    host, log = run.host, run.log(name, "build")
    failed = True
    try:
        image = await run.presenter.step(
            images.build_image,
            host.docker,
            run.checkout.tree,
            run.checkout.file.components[name],
            tag=f"{left.bound[0].image}:{left.key}",
            labels=labels(repository=run.head.repository, commit=run.head.commit, component=name),
            seconds=host.build_seconds,
            say=lambda line: run.presenter.say(f"{name}: {line}"),
            rules=rules,
            epoch=run.checkout.epoch,
            via=left.via,
            limits=host.build_limits,
            log=log,
            work=run.ground.folder,
        )
        failed = False
    finally:
        await run.presenter.show(reports.build_report(name, log=str(log.path), failed=failed))
    built.note(host.state, run.head.repository, key=left.key, image_id=image.id)
    return _Built(image, None, run.head.commit)


async def _conclude(
    presenter: Presenter,
    host: CiHost,
    head: Head,
    desired: VerifiedHead,
    fates: Mapping[str, Released],
    *,
    builder: str,
) -> ReleaseOutcome:
    """Tell what became of each component; an error when one of them is not where it was meant to be."""
    signer = host.signing_of(head.repository).signer
    missing = absent(desired.repository, source=head.repository, signer=signer)
    outcome = ReleaseOutcome(head.repository, head.commit, tuple(fates[name] for name in sorted(fates)), missing)
    await presenter.progress("release", 100, "done")
    await presenter.show(
        reports.release_report(outcome.repository, outcome.commit, outcome.components, builder=builder)
    )
    for each in outcome.written:
        if web := host.environment_repository.web:
            await presenter.link("release-commit", f"{web}{each.commit}", f"release commit {each.commit[:12]}")
    for each in outcome.components:
        if each.built and (web := host.repositories[head.repository].web):
            text = f"{each.component} was built from {each.built[:12]}"
            await presenter.link("built-from", f"{web}{each.built}", text)
    if error := outcome_error(outcome.components):
        raise error
    return outcome
