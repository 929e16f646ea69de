"""What follows the assessment: the gate, the push, and one commit in the environment repository."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.ci import assess
from flows.ci.assess import Ground, Manifests
from flows.ci.clock import Clock
from flows.ci.propose import Offer, Proposed, propose, withdraw
from flows.ci.race import fetch_environments, in_turn
from flows.ci.together import together
from flows.presenter import Presenter
from interlock import __version__
from interlock.ci import evidence, reports, sarif
from interlock.ci.build_key import bases_of, key_of_tests
from interlock.ci.builder import builder_of
from interlock.ci.credentials import Probe
from interlock.ci.evidence import Facts
from interlock.ci.gate import Scans, judge_release
from interlock.ci.host import CiHost
from interlock.ci.junit import TestRun
from interlock.ci.proposal import branch_of, by_pull_request
from interlock.ci.signing import Request, require_declared, require_no_keys
from interlock.ci.targets import (
    Proven,
    Released,
    Target,
    already,
    changes,
    narrowed,
    nowhere,
    of_environment,
    open_targets,
    released_commits,
    targets,
)
from interlock.contract import oci
from interlock.contract.canonical import digest
from interlock.contract.dsse import Envelope
from interlock.contract.evidence import Base, document
from interlock.contract.finding import Scan
from interlock.contract.gate import Verdict, is_passing
from interlock.contract.models import Source
from interlock.contract.oci import Artifact
from interlock.contract.trailers import Trailers
from interlock.errors import Blocked
from tasks.ci import images, referrers, scanner, signatures
from tasks.ci.findings_file import write_findings
from tasks.ci.images import Image
from tasks.ci.kept_log import LogPlace, log_place
from tasks.ci.release_commit import push_release
from tasks.ci.scanner import Contents, ImageScan
from tasks.ci.source import Checkout, Head, relate
from tasks.common import registry
from tasks.common.environment_repository import VerifiedHead


@dataclass(frozen=True)
class Candidate:
    """One component's image and all that is known about it, before policy is asked."""

    component: str
    repository: str
    """The image's, registry included."""
    image: Image
    key: str
    """The tag under which a later run finds the image."""
    digest: str | None
    """In the registry, once it is pushed."""
    reused: bool
    """An earlier run built it."""
    built: str
    """The commit that it was built from: this one, or an earlier one with the same inputs."""
    source_scans: tuple[Scan, ...]
    """Of the files, and of the code in them."""
    image_scan: ImageScan
    tests: TestRun
    manifests: Manifests
    given: bool = False
    """Another builder made it."""

    @property
    def bases(self) -> tuple[Base, ...] | None:
        """What it was built from, as our builds say in the image; None when nobody whom we know has looked."""
        return None if self.given else bases_of(self.image.labels)

    def scans(self, environments: Iterable[str]) -> Scans:
        """What these environments' verdicts rest on."""
        manifests = {name: of_environment(self.manifests.scan, name) for name in environments}
        return Scans(tuple(self.source_scans), self.image_scan.scan, manifests)


@dataclass(frozen=True)
class Run:
    """What all components of a run share."""

    presenter: Presenter
    host: CiHost
    id: str
    head: Head
    checkout: Checkout
    probe: Probe
    ground: Ground
    clock: Clock
    alone: bool
    """Only one of the components is left to release."""
    commit_key: str = ""
    """By whose key the commit is signed, where the source's rule asks for it."""
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def log(self, component: str, what: str) -> LogPlace:
        """Where what a build or tests print is kept."""
        return log_place(
            self.host, repository=self.head.repository, component=component, commit=self.head.commit, what=what
        )


async def still_open(run: Run, bound: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that this commit is not released to; Superseded when a newer one is."""
    source = run.head.repository
    relations = await run.presenter.step(relate, run.host, run.head, released_commits(bound, source))
    return open_targets(bound, source=source, commit=run.head.commit, relations=relations)


@dataclass(frozen=True)
class Judged:
    """The gate's verdicts by environment, and the verified head whose policy they rest on."""

    desired: VerifiedHead
    wanted: tuple[Target, ...]
    verdicts: Mapping[str, Verdict]

    @property
    def passed(self) -> tuple[Target, ...]:
        return tuple(each for each in self.wanted if self.verdicts[each.environment].passed)

    @property
    def open(self) -> tuple[str, ...]:
        """The environments that the gate opened."""
        return tuple(dict.fromkeys(each.environment for each in self.passed))

    @property
    def blocked(self) -> tuple[str, ...]:
        return tuple(name for name, verdict in self.verdicts.items() if not verdict.passed)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for name in self.blocked for reason in self.verdicts[name].reasons))


async def publish(run: Run, candidate: Candidate, desired: VerifiedHead) -> Released:
    """Gate, push, commit. When somebody else pushed first: fetch, verify, gate again, redo."""
    ready, newest = await together(_ready(run, candidate, desired), _beside(run))
    if isinstance(ready, Released):
        return ready

    async def attempt(head: VerifiedHead) -> Released:
        again: _Ready | Released = ready
        if head.commit != ready.judged.desired.commit:
            again = await _ready(run, ready.candidate, head, (ready.facts, ready.contents))
        return again if isinstance(again, Released) else await _commit(run, again)

    what = f"the release of {candidate.component} {run.head.commit[:12]}"
    return await in_turn(run.presenter, run.host, newest, attempt, what=what)


async def _beside(run: Run) -> VerifiedHead | None:
    """The head as it is now, since building took its time; None where this run's other components move it."""
    return await fetch_environments(run.presenter, run.host) if run.alone else None


@dataclass(frozen=True)
class _Ready:
    """The gate let the image pass on one verified head, and the registry has it."""

    candidate: Candidate
    judged: Judged
    facts: Facts
    contents: Contents


async def _ready(
    run: Run, candidate: Candidate, desired: VerifiedHead, known: tuple[Facts, Contents] | None = None
) -> _Ready | Released:
    """Blocked when the gate lets it into no environment; Released when nothing is left to do.

    `known`: what was found out about the image when another head was judged.
    """
    bound = _targets(run, desired, candidate.component)
    wanted = await still_open(run, bound)
    if not wanted:
        return already(bound)
    candidate = await _with_manifests(run, candidate, desired, wanted)
    judged = _judge(candidate, desired, wanted, run.head.repository)
    report = reports.gate_report(judged.verdicts, component=candidate.component, commit=run.head.commit)
    await run.presenter.show(report)
    await _keep_findings(run, candidate, judged)
    await _withdraw(run, judged, bound)
    if not judged.passed:
        raise _blocked(run, candidate, judged)
    if known:
        return _Ready(await _with_digest(run, candidate), judged, *known)
    listing = run.presenter.step(
        scanner.list_contents, run.ground.scanner, candidate.image_scan.report, repository=candidate.repository
    )
    candidate, listed = await together(_with_digest(run, candidate), listing)
    return _Ready(candidate, judged, *await _facts(run, candidate, listed))


async def _withdraw(run: Run, judged: Judged, bound: Sequence[Target]) -> None:
    """What was proposed of this commit, when the gate opens no environment any more that people release to."""
    repository = judged.desired.repository
    asked = [each.environment for each in judged.wanted if by_pull_request(repository, each.environment)]
    if not asked or set(asked) & set(judged.open):
        return
    reasons = dict.fromkeys(reason for name in asked for reason in judged.verdicts[name].reasons)
    branch = branch_of(run.head.repository, bound[0].component, bound, repository)
    await withdraw(run.presenter, run.host, branch=branch, commit=run.head.commit, reasons=tuple(reasons))


def _targets(run: Run, desired: VerifiedHead, component: str) -> tuple[Target, ...]:
    source = run.head.repository
    signer = run.host.signing_of(source).signer
    found = targets(desired.repository, source=source, signer=signer)
    bound = tuple(each for each in narrowed(run.checkout.file, found) if each.component == component)
    if not bound:
        raise nowhere(source, signer)  # taken out of every environment while this run went on
    return bound


async def _with_manifests(run: Run, candidate: Candidate, desired: VerifiedHead, wanted: Sequence[Target]) -> Candidate:
    """The manifests may have changed with the head."""
    known = candidate.manifests
    return replace(
        candidate,
        manifests=await assess.manifests(run.presenter, run.ground, desired.repository, wanted, known=known),
    )


def _judge(candidate: Candidate, desired: VerifiedHead, wanted: tuple[Target, ...], source: str) -> Judged:
    environments = tuple(dict.fromkeys(each.environment for each in wanted))
    verdicts = judge_release(
        candidate.scans(environments),
        candidate.tests,
        policy=desired.repository,
        environments=environments,
        source=source,
        component=candidate.component,
        now=dt.datetime.now(dt.UTC),
        bases=candidate.bases,
    )
    return Judged(desired, wanted, verdicts)


async def _keep_findings(run: Run, candidate: Candidate, judged: Judged) -> None:
    """As SARIF, on this host."""
    scans = candidate.scans(judged.verdicts)
    found = dict.fromkeys(scan for name in judged.verdicts for scan in scans.of(name))
    dockerfile = run.checkout.file.components[candidate.component].dockerfile
    about = sarif.Judged(candidate.component, dockerfile, tuple(found), judged.verdicts)
    path = await run.presenter.step(
        write_findings,
        run.host.state,
        sarif.document([about], version=__version__),
        repository=run.head.repository,
        component=candidate.component,
        commit=run.head.commit,
    )
    run.presenter.say(f"{candidate.component}: findings as SARIF in {path}")


def _blocked(run: Run, candidate: Candidate, judged: Judged) -> Blocked:
    return Blocked(
        f"{candidate.component} {run.head.commit[:12]} is not released to {', '.join(judged.blocked)}",
        reasons=judged.reasons,
        hint="nothing was pushed; the gate's report says what to do",
        passing=is_passing(judged.reasons),
    )


async def _with_digest(run: Run, candidate: Candidate) -> Candidate:
    """Push unless an earlier run did; either way the registry must keep exactly what was scanned."""
    step, host = run.presenter.step, run.host
    pushed = candidate.digest
    if pushed is None:
        where = {"repository": candidate.repository, "tag": candidate.key}
        auth, say = host.registry.auth, run.presenter.say
        pushed = await step(images.push_image, host.docker, candidate.image.id, auth=auth, say=say, **where)
    await step(
        registry.confirm_image,
        host.registry,
        repository=candidate.repository,
        image_digest=pushed,
        image_id=candidate.image_scan.scan.image_id,
    )
    return replace(candidate, digest=pushed)


async def _commit(run: Run, ready: _Ready) -> Released:
    """One signed commit: the entries and the evidence of every environment that the gate opened.

    Those that people release to get one on a branch, and a pull request.
    """
    candidate, judged, facts, contents = ready.candidate, ready.judged, ready.facts, ready.contents
    envelopes = await _envelopes(run, candidate, judged, facts, contents)
    proofs = {
        name: document(envelopes[each] for each in evidence.for_environment(envelopes, name)) for name in judged.open
    }
    proven = [Proven(each, proofs[each.environment]) for each in judged.passed]
    later = [each for each in proven if by_pull_request(judged.desired.repository, each.target.environment)]
    direct = [each for each in proven if each not in later]
    commit = await _write(run, candidate, judged, direct, facts) if direct else ""
    proposed = await _propose(run, candidate, judged, later, facts, again=bool(commit)) if later else None
    return Released(
        candidate.component,
        facts.image,
        _environments(direct),
        commit,
        judged.blocked,
        judged.reasons,
        built=candidate.built if candidate.reused else "",
        proposed=_environments(later),
        pull_request=proposed.url if proposed else "",
    )


def _environments(proven: Iterable[Proven]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.target.environment for each in proven))


async def _write(run: Run, candidate: Candidate, judged: Judged, proven: Sequence[Proven], facts: Facts) -> str:
    return await run.presenter.step(
        push_release,
        run.host,
        signing=run.host.signing_of(run.head.repository),
        parent=judged.desired.commit,
        changes=changes(judged.desired.tree, proven, image=facts.image, source=facts.source, head=facts.head),
        subject=f"Release {_what(run, candidate)} to {', '.join(_environments(proven))}",
        trailers=Trailers(
            source_repository=run.head.repository,
            source_commit=run.head.commit,
            run=run.id,
            evidence_digest=digest(proven[0].evidence),
            component=candidate.component,
            authors=run.checkout.authors.people,
            source_keys=run.checkout.authors.keys,
        ),
    )


async def _propose(
    run: Run, candidate: Candidate, judged: Judged, proven: Sequence[Proven], facts: Facts, *, again: bool
) -> Proposed:
    """On top of the newest head; `again`: it has moved since it was judged, by our own commit."""
    head = await fetch_environments(run.presenter, run.host) if again else judged.desired
    tests = candidate.tests.report
    verdicts = {name: judged.verdicts[name] for name in _environments(proven)}
    offer = Offer(
        component=candidate.component,
        image=facts.image,
        source=facts.source,
        head=facts.head,
        run=run.id,
        authors=run.checkout.authors,
        proven=proven,
        bound=_targets(run, head, candidate.component),
        tests=tests.summary if tests else "none",
        findings=reports.gate_report(verdicts, component=candidate.component, commit=run.head.commit).body,
    )
    return await propose(run.presenter, run.host, head, offer)


def _what(run: Run, candidate: Candidate) -> str:
    """Both commits, where an earlier one built it."""
    built = "" if candidate.built == run.head.commit else f", built from {candidate.built[:12]},"
    return f"{candidate.component} {run.head.commit[:12]}{built}"


async def _envelopes(
    run: Run, candidate: Candidate, judged: Judged, facts: Facts, contents: Contents
) -> Mapping[str, Envelope]:
    """What is said about the image, signed where this host has a signer; then the registry has it too."""
    step, host, scans = run.presenter.step, run.host, candidate.scans(judged.open)
    attesters = judged.desired.repository.attesters
    attester = attesters.of(run.head.repository) if attesters else None
    if host.signer is None:
        require_no_keys(attester)
        run.presenter.say(f"{candidate.component}: this host has no signer, so its evidence is not signed")
        said = evidence.statements(
            facts,
            scans,
            {name: judged.verdicts[name] for name in judged.open},
            builder=host.signing_of(run.head.repository).signer,
            policy_commit=judged.desired.commit,
            finished=dt.datetime.now(dt.UTC),
            branch=host.repositories[run.head.repository].branch,
            commit_key=run.commit_key,
        )
        return {name: Envelope(each.payload) for name, each in said.items()}
    request = Request(
        facts=facts,
        scans=scans,
        environments=judged.open,
        cyclonedx=contents.cyclonedx.decode(),
        spdx=contents.spdx.decode(),
    )
    signed = await step(signatures.request_signatures, host.signer, request)
    require_declared(attester, signed.public)
    await step(signatures.attach_signatures, host.registry, signed, image=facts.image)
    await run.presenter.show(reports.evidence_report(signed, component=candidate.component, image=facts.image))
    return signed.envelopes


async def _facts(run: Run, candidate: Candidate, listed: Contents) -> tuple[Facts, Contents]:
    """What is known about the image, with its bills of materials, which the registry has from here on."""
    assert candidate.digest is not None  # noqa: S101 - it was pushed
    image = f"{candidate.repository}@{candidate.digest}"
    contents = listed.about(image)
    sboms = await run.presenter.step(
        referrers.attach,
        run.host.registry,
        repository=candidate.repository,
        image_digest=candidate.digest,
        artifacts=(
            Artifact("sbom-cyclonedx", oci.CYCLONEDX, contents.cyclonedx),
            Artifact("sbom-spdx", oci.SPDX, contents.spdx),
        ),
    )
    facts = Facts(
        image=image,
        image_id=candidate.image.id,
        source=Source(repository=run.head.repository, commit=candidate.built),
        component=candidate.component,
        build_key=candidate.key,
        reused=candidate.reused,
        run=run.id,
        started=run.started,
        tests=replace(candidate.tests, log=()),
        sboms=sboms,
        probe=run.probe,
        bases=candidate.bases or (),
        head="" if candidate.built == run.head.commit else run.head.commit,
        key_of_tests=key_of_tests(run.checkout.file.components[candidate.component]),
        given=candidate.given,
        built_with="" if candidate.given else builder_of(candidate.image.labels),
    )
    return facts, contents
