"""What CI's gate would say about a folder: the same scans, tests and judge as a release, and nothing is written."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from flows.ci import assess
from flows.ci.assess import Bench, Ground
from flows.ci.together import together
from interlock.ci import reports, sarif
from interlock.ci.canary import Kind
from interlock.ci.gate import asks_for_licences, build_rules, judge_each
from interlock.ci.junit import TestRun
from interlock.ci.known import known
from interlock.ci.part import Part
from interlock.ci.policy import Policy
from interlock.ci.targets import Target, narrowed, of_environment
from interlock.contract.finding import Scan
from interlock.contract.gate import REQUIRED, Required, Verdict
from interlock.contract.models import Component
from interlock.contract.repository import Repository
from interlock.contract.sightings import NOTHING, Known
from interlock.errors import Blocked, ParameterError
from tasks.ci.local import Files, copy_folder
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tasks.ci.source import Checkout

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from tasks.ci.buildx import Via

_DEFAULT = "default policy"
_BUILD_SECONDS = 1800
_KINDS: Mapping[Part, tuple[Kind, ...]] = {Part.SECRETS: ("secret",), Part.MISCONFIGURATION: ("misconfig",)}


@dataclass(frozen=True)
class Checked:
    """What was found in each component, whether it blocks or not, and the verdicts."""

    findings: tuple[sarif.Judged, ...]

    @property
    def verdicts(self) -> Mapping[str, Mapping[str, Verdict]]:
        """By component and environment. Without bindings, the only environment is `default policy`."""
        return {each.component: each.verdicts for each in self.findings}

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        verdicts = [verdict for each in self.verdicts.values() for verdict in each.values()]
        return tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))


async def check_order(
    presenter: Presenter,
    folder: Path,
    repository: Repository | None,
    *,
    program: Scanner,
    docker: str | None,
    buildx: Path | None = None,
    source: str | None = None,
    files: Files = Files.ALL,
    commit: str | None = None,
    only: Part | None = None,
    tell: Callable[[Checked], None] = lambda _: None,
) -> Checked:
    """Judge the files that lie in `folder` now, or those of a commit. Without Docker no image is built or judged.

    `only` one part, whatever else the gate would say. Blocked with the reasons when the gate would stop it; `tell` is
    given everything before that.
    """
    with tempfile.TemporaryDirectory(prefix="interlock-check-") as work:
        policy = Policy.of(repository, source=source)
        released = sorted({target.released.newest for target in policy.targets if target.released})
        checkout = await presenter.step(copy_folder, folder, Path(work), files=files, commit=commit, released=released)
        if repository:
            policy = replace(policy, targets=narrowed(checkout.file, policy.targets))
        if only:
            alone = Alone(presenter, program, checkout, policy, docker, Path(work), _via(buildx))
            return _passed(Checked(await _part(alone, only)), folder, tell)
        licences = asks_for_licences(policy.gate)
        database = assess.checked(await presenter.step(check_scanner, program))
        ground = Ground(program, database, Path(work), licences=licences)
        local = Local(presenter, ground, checkout, repository, policy, docker, _via(buildx))
        scanned = await assess.sources(presenter, ground, checkout, checkout.file.components.values())
        findings = tuple([await _check(local, name, scanned) for name in checkout.file.components])
    if docker is None:
        presenter.say("without Docker neither the image nor its tests were judged")
    return _passed(Checked(findings), folder, tell)


def _via(buildx: Path | None) -> Via | None:
    """The BuildKit in the Docker daemon, with the person's own accounts and without CI's secrets."""
    if buildx is None:
        return None
    from interlock.ci.host import BuildKit
    from tasks.ci.buildx import Via

    return Via(BuildKit(buildx=buildx), None, namespace="interlock-check")


def _passed(checked: Checked, folder: Path, tell: Callable[[Checked], None]) -> Checked:
    tell(checked)
    if not checked.passed:
        raise Blocked(f"CI's gate would stop {folder}", reasons=checked.reasons)
    return checked


# one part --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """What the check of one part needs."""

    presenter: Presenter
    program: Scanner
    checkout: Checkout
    policy: Policy
    docker: str | None
    folder: Path
    via: Via | None


async def _part(alone: Alone, only: Part) -> tuple[sarif.Judged, ...]:
    """The verdicts of the gate with nothing to go by but one scan, or the tests."""
    components = alone.checkout.file.components
    if only is Part.TESTS:
        runs = {name: await _tests(alone, name, component) for name, component in components.items()}
        return tuple(_judged(alone, name, [], run, []) for name, run in runs.items())
    dockerfiles = sorted({component.dockerfile for component in components.values()})
    scanned = await alone.presenter.step(
        scan_folder,
        alone.program,
        alone.checkout.scanned,
        subject="source",
        database=None,
        configurations=frozenset(dockerfiles) if only is Part.MISCONFIGURATION else frozenset(),
        dockerfiles=dockerfiles,
        history=alone.checkout.history.names,
        kinds=_KINDS[only],
    )
    await alone.presenter.show(reports.scan_report([scanned], component="all", rules=alone.policy.gate.rules))
    return tuple(_judged(alone, name, [scanned], None, ["source"]) for name in components)


async def _tests(alone: Alone, name: str, component: Component) -> TestRun:
    from tasks.ci.desk import build_and_test

    if alone.docker is None:
        raise ParameterError("tests run in the component's image, which needs Docker", hint="leave --no-image out")
    run = await alone.presenter.step(
        build_and_test,
        alone.docker,
        alone.checkout.tree,
        component,
        name=name,
        run=uuid4().hex[:12],
        seconds=_BUILD_SECONDS,
        say=alone.presenter.say,
        rules=build_rules(alone.policy.gate, _environments(alone.policy, name)),
        via=alone.via,
    )
    await alone.presenter.show(reports.results_report(run, component=name))
    return run


def _judged(
    alone: Alone, name: str, scans: Sequence[Scan], tests: TestRun | None, required: Sequence[Required]
) -> sarif.Judged:
    policy = alone.policy
    environments = _environments(policy, name)
    verdicts = judge_each(
        lambda _: scans,
        tests,
        gate=policy.gate,
        waivers=policy.waivers,
        component=name,
        now=dt.datetime.now(dt.UTC),
        known=dict.fromkeys(sorted(environments) or [_DEFAULT], NOTHING),
        required=required,
    )
    return sarif.Judged(name, alone.checkout.file.components[name].dockerfile, scans, verdicts)


def _environments(policy: Policy, name: str) -> set[str]:
    return {target.environment for target in policy.targets if target.component == name}


# everything ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local:
    """What the check of each component needs."""

    presenter: Presenter
    ground: Ground
    checkout: Checkout
    repository: Repository | None
    policy: Policy
    docker: str | None
    via: Via | None


async def _check(local: Local, name: str, scanned: Sequence[Scan]) -> sarif.Judged:
    """The verdict on a component for every environment that it is bound to, or under the default policy."""
    bound = tuple(target for target in local.policy.targets if target.component == name)
    manifests, image = await together(_manifests(local, bound), _image(local, name))
    scans = [*scanned, *manifests, *([image[0]] if image else [])]
    tests = image[1] if image else None
    missing = {*(() if local.docker else ("image", "tests")), *(() if bound else ("manifests",))}
    required = [each for each in REQUIRED if each not in missing]
    gate = local.policy.gate
    verdicts = judge_each(
        lambda environment: [of_environment(scan, environment) for scan in scans],
        tests,
        gate=gate,
        waivers=local.policy.waivers,
        component=name,
        now=dt.datetime.now(dt.UTC),
        known=_known(local, bound),
        required=required,
    )
    await local.presenter.show(reports.scan_report(scans, component=name, rules=gate.rules))
    if tests:
        await local.presenter.show(reports.results_report(tests, component=name))
    await local.presenter.show(reports.gate_report(verdicts, component=name, commit="working copy"))
    return sarif.Judged(name, local.checkout.file.components[name].dockerfile, scans, verdicts)


def _known(local: Local, bound: Sequence[Target]) -> dict[str, Known]:
    if local.repository is None or not bound:
        return {_DEFAULT: NOTHING}
    tree = local.repository.tree
    return {target.environment: known(tree, target, bound) for target in bound}


async def _manifests(local: Local, bound: Sequence[Target]) -> list[Scan]:
    if local.repository is None or not bound:
        return []
    found = await assess.manifests(local.presenter, local.ground, local.repository, bound, known=None)
    return [found.scan]


async def _image(local: Local, name: str) -> tuple[Scan, TestRun] | None:
    """Build, scan and test, as in a release; None without Docker."""
    if local.docker is None:
        return None
    from tasks.ci import images  # Docker's SDK, which few checks need

    component, mark = local.checkout.file.components[name], uuid4().hex[:12]
    rules = build_rules(local.policy.gate, _environments(local.policy, name))
    image = await local.presenter.step(
        images.build_image,
        local.docker,
        local.checkout.tree,
        component,
        tag=f"interlock-check/{name}:{mark}",
        labels={},
        seconds=_BUILD_SECONDS,
        say=local.presenter.say,
        rules=rules,
        via=local.via,
    )
    try:
        scanned, tests = await assess.image_and_tests(
            local.presenter,
            local.ground,
            Bench(local.docker, local.checkout.tree, rules, _BUILD_SECONDS, mark, local.via),
            image.id,
            name=name,
            component=component,
        )
    finally:
        await local.presenter.step(images.remove_image, local.docker, f"interlock-check/{name}:{mark}")
    return scanned.scan, tests
