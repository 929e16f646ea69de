"""Finding out what a release's judge must know: three scans and the tests, as much of it side by side as can be."""

from __future__ import annotations

import asyncio
import datetime as dt
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from flows.ci.together import together
from flows.trail import shared
from interlock.ci.findings import of_violations, unsearched
from interlock.ci.junit import TestRun
from interlock.ci.targets import Target, manifest_files, without_releases
from interlock.contract.finding import Database, Finding, Scan, Subject, not_scanned
from interlock.contract.models import BuildRules, Component
from interlock.contract.repository import Repository
from interlock.errors import ScanFailed
from tasks.ci import code, scanner
from tasks.ci.kept import Kept
from tasks.ci.scanner import ImageScan, Scanner
from tasks.ci.source import Checkout
from tasks.common.render import render_environment
from tasks.common.validate import validate_offline

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from interlock.ci.host import BuildLimits
    from tasks.ci.buildx import Via
    from tasks.ci.kept_log import LogPlace

PLACEHOLDER = "placeholder.invalid"
"""Stands before the name of a component that is not released yet, while its manifests are scanned."""


@dataclass(frozen=True)
class Ground:
    """What every scan of a run stands on."""

    scanner: Scanner
    database: Future[Database]
    """Known once the scanner is checked: nothing is scanned before."""
    folder: Path
    """The run's own; each scan makes new folders in it."""
    licences: bool = False
    """Whether policy says anything about the licences of what is in an image."""
    kept: Kept | None = None
    """What earlier runs found in the same contents."""


def checked(database: Database) -> Future[Database]:
    """Of a scanner that was checked before."""
    known: Future[Database] = asyncio.get_running_loop().create_future()
    known.set_result(database)
    return known


async def sources(
    presenter: Presenter, ground: Ground, checkout: Checkout, components: Iterable[Component]
) -> tuple[Scan, ...]:
    """Vulnerabilities, secrets and misconfigurations in the sources, and what analysers say of their code.

    Every Dockerfile must get a verdict.
    """
    dockerfiles = frozenset(component.dockerfile for component in components)
    database = await shared(ground.database)
    scan = presenter.step(
        scanner.scan_folder,
        ground.scanner,
        checkout.scanned,
        subject="source",
        database=database,
        configurations=dockerfiles,
        dockerfiles=sorted(dockerfiles),
        history=checkout.history.names,
        kept=ground.kept,
    )
    analysis = presenter.step(code.analyse_code, checkout.tree, kept=ground.kept)
    scanned, analysed = await together(_or_failure("source", scan), _or_failure("code", analysis))
    if what := checkout.history.unsearched:
        scanned = replace(scanned, findings=(unsearched(what), *scanned.findings))
    return scanned, analysed


@dataclass(frozen=True)
class Manifests:
    """The scan of what the environments would apply, and the files that it saw.

    `rules` are what schemas and rules said of them: those are the environment repository's, and may change with it.
    """

    scanned: Scan
    files: Mapping[str, bytes]
    """Without what releases say: who releases another component meanwhile changes nothing that a scan looks at."""
    rules: Sequence[Finding]
    notes: Sequence[str]
    made_of: object
    """Equal to another's when nothing that they are made of differs."""

    @property
    def scan(self) -> Scan:
        """All that is known of them."""
        scanned = self.scanned
        return replace(scanned, findings=(*scanned.findings, *self.rules), notes=(*scanned.notes, *self.notes))


async def manifests(
    presenter: Presenter, ground: Ground, repository: Repository, bound: Iterable[Target], *, known: Manifests | None
) -> Manifests:
    """Render every environment that a component is bound to, validate and scan the applications' manifests.

    `known`: an earlier result. It holds as a whole for the same commit, on the same day, as waivers end; its scan as
    long as nothing else is rendered than what releases say.
    """
    targets = tuple(bound)
    places = frozenset((target.environment, target.application) for target in targets)
    made_of = (repository.commit, places, dt.datetime.now(dt.UTC).date())
    if known and known.made_of == made_of:
        return known
    names = sorted({target.environment for target in targets})
    rendered = await asyncio.gather(
        *(presenter.step(render_environment, repository, name, PLACEHOLDER) for name in names)
    )
    files = manifest_files(rendered, targets)
    alike = without_releases(files, repository, targets, placeholder=PLACEHOLDER)
    own = {name: {each.application for each in targets if each.environment == name} for name in names}
    validated = await asyncio.gather(
        *(presenter.step(validate_offline, repository, each, own[each.environment]) for each in rendered)
    )
    rules = [of_violations(each.violations, name) for name, each in zip(names, validated, strict=True)]
    notes = dict.fromkeys(note for each in validated for note in each.notes)
    if known and known.files == alike:
        scan = known.scanned
    else:
        folder = ground.folder / f"manifests-{uuid4().hex[:12]}"
        scanning = presenter.step(scanner.scan_manifests, ground.scanner, folder, files, alike=alike, kept=ground.kept)
        scan = await _or_failure("manifests", scanning)
    return Manifests(scan, alike, tuple(chain.from_iterable(rules)), tuple(notes), made_of)


async def image(presenter: Presenter, ground: Ground, docker: str, image_id: str, *, component: str) -> ImageScan:
    """Export the image and scan it; the scanner never reaches the daemon."""
    from tasks.ci import images  # Docker's SDK, which a check of sources does without

    archive = ground.folder / f"{component}.tar"
    database = await shared(ground.database)
    try:
        await presenter.step(images.export_image, docker, image_id, archive)
        return await presenter.step(
            scanner.scan_image,
            ground.scanner,
            archive,
            database=database,
            licences=ground.licences,
            kept=ground.kept,
        )
    except ScanFailed as error:
        return ImageScan(not_scanned("image", error.message), report=b"")
    finally:
        archive.unlink(missing_ok=True)


@dataclass(frozen=True)
class Bench:
    """What a component is built and tested with."""

    docker: str
    tree: Path
    rules: Sequence[BuildRules]
    seconds: int
    run: str
    via: Via | None = None
    """BuildKit, where the host has it."""
    work: Path | None = None
    """The run's own folder."""
    limits: BuildLimits | None = None
    """Of the classic builder's steps; None at a desk."""
    logs: Callable[[str, str], LogPlace] | None = None
    """Where a component's log of some kind is kept; None at a desk."""

    def log(self, component: str, what: str) -> LogPlace | None:
        return self.logs(component, what) if self.logs else None


async def image_and_tests(
    presenter: Presenter, ground: Ground, bench: Bench, image_id: str, *, name: str, component: Component
) -> tuple[ImageScan, TestRun]:
    """Both need nothing but the image, or the tests one that stands on it."""
    return await together(
        image(presenter, ground, bench.docker, image_id, component=name),
        run_tests(presenter, bench, image_id, name=name, component=component),
    )


async def run_tests(presenter: Presenter, bench: Bench, image_id: str, *, name: str, component: Component) -> TestRun:
    """In a container of the image that ships, or of the tests' own stage on it, which is gone afterwards."""
    from tasks.ci import images, tests

    log = bench.log(name, "tests")
    if component.tests.target is None:
        return await presenter.step(tests.run_tests, bench.docker, image_id, component.tests, run=bench.run, log=log)
    tag = f"interlock-test/{name}:{bench.run}"
    built = await presenter.step(
        images.build_test_image,
        bench.docker,
        bench.tree,
        component,
        on=image_id,
        tag=tag,
        run=bench.run,
        seconds=bench.seconds,
        say=presenter.say,
        rules=bench.rules,
        via=bench.via,
        work=bench.work,
        limits=bench.limits,
        log=bench.log(name, "tests-build"),
    )
    try:
        return await presenter.step(tests.run_tests, bench.docker, built.id, component.tests, run=bench.run, log=log)
    finally:
        await presenter.step(images.remove_image, bench.docker, tag)


async def _or_failure(subject: Subject, scan: Awaitable[Scan]) -> Scan:
    """A scanner that gave no result is a result for the gate, which blocks and says why with all other reasons."""
    try:
        return await scan
    except ScanFailed as error:
        return not_scanned(subject, error.message)
