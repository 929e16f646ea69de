"""What is released, judged again by what is known today: nothing is built, and only what has changed is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from interlock.ci import evidence as statements
from interlock.ci.known import known, proofs
from interlock.ci.targets import Target, rescan
from interlock.contract import evidence
from interlock.contract.canonical import digest
from interlock.contract.evidence import Evidence
from interlock.contract.finding import Scan
from interlock.contract.gate import NOT_SCANNED, Verdict, judge
from interlock.contract.models import GateRules
from interlock.contract.repository import Repository
from interlock.contract.sightings import scans
from interlock.contract.trailers import Trailers


@dataclass(frozen=True)
class Recorded:
    """The newest verdict on a release that the environment repository has."""

    clean: bool
    blocking: frozenset[str]
    """Keys of the findings that the verdict names."""
    time: dt.datetime | None
    """None: an older version did not write it."""


@dataclass(frozen=True)
class Rescanned:
    """A release and today's verdict on it. `trouble`: why nobody could judge it, which is not the same as clean."""

    target: Target
    rules: GateRules
    before: Recorded
    known: frozenset[str]
    """Findings that the environment repository knew already."""
    verdict: Verdict
    trouble: str = ""

    @property
    def name(self) -> str:
        """Which release it is, for people."""
        return f"{self.target.application}/{self.target.component} in {self.target.environment}"

    @property
    def clean(self) -> bool:
        return not self.trouble and self.verdict.passed

    @property
    def blocking(self) -> frozenset[str]:
        return frozenset(hit.finding.key for hit in self.verdict.blocking)

    @property
    def fresh(self) -> tuple[str, ...]:
        """What blocks, and did not when it was judged last."""
        return tuple(sorted(self.blocking - self.before.blocking))

    def tells_more(self, now: dt.datetime) -> bool:
        """Whether the environment repository should be told: of another verdict, a first sight, or that it is fresh."""
        if self.trouble:
            return self.before.clean and is_old(self.before, self.rules, now)
        seen = {key for key, each in self.verdict.seen.items() if each.present}
        changed = (self.clean, self.blocking) != (self.before.clean, self.before.blocking) or not seen <= self.known
        return changed or is_old(self.before, self.rules, now, share=2)


def released(bound: Iterable[Target]) -> dict[str, tuple[Target, ...]]:
    """What is released now: the targets by image."""
    found: dict[str, tuple[Target, ...]] = {}
    for target in bound:
        if target.released:
            found[target.released.image] = (*found.get(target.released.image, ()), target)
    return found


def judge_again(
    repository: Repository, bound: Sequence[Target], image: str, scan: Scan, *, now: dt.datetime
) -> tuple[Rescanned, ...]:
    """Today's verdict on everything that `image` is released to, by a scan of it with today's database."""
    return tuple(_judge(repository, bound, target, scan, now) for target in released(bound).get(image, ()))


def _judge(repository: Repository, bound: Sequence[Target], target: Target, scan: Scan, now: dt.datetime) -> Rescanned:
    rules = repository.gate.environments.get(target.environment, repository.gate.rules)
    proven = tuple(proofs(repository.tree, target))
    name = (target.application, target.component)
    before = known(repository.tree, target, [each for each in bound if (each.application, each.component) == name])
    verdict = judge(
        (*_remembered(proven), replace(scan, licences=True)),
        None,
        rules=rules,
        waivers=repository.waivers,
        component=target.component,
        now=now,
        required=("image",),
        known=replace(before, released=True),
    )
    newest = recorded(proven)
    told = [reason for reason in verdict.reasons if reason.startswith(f"image: {NOT_SCANNED}")]
    rescanned = Rescanned(target, rules, newest, before.before or frozenset(), verdict, "; ".join(told))
    return replace(rescanned, verdict=_overdue(rescanned, now)) if told else rescanned


def _remembered(proven: Sequence[Evidence]) -> Iterator[Scan]:
    """What the release's own scans found, without the image's vulnerabilities, of which today's database tells.

    They looked for what policy asked for then: what it asks for since, such as licences, the next release must show.
    """
    for scan in scans(proven[0]) if proven else ():
        findings = tuple(each for each in scan.findings if (scan.subject, each.kind) != ("image", "vulnerability"))
        yield replace(scan, findings=findings, licences=True, assessed=True, doubt="")


def recorded(proven: Sequence[Evidence]) -> Recorded:
    """The newest verdict; one of nothing is clean."""
    verdicts = [each for proof in proven for each in proof.predicates(evidence.GATE_VERDICT)]
    if not verdicts:
        return Recorded(clean=True, blocking=frozenset(), time=None)
    newest = verdicts[-1]
    time = newest.get("timeVerified")
    return Recorded(
        clean=newest.get("result") == "PASSED",
        blocking=frozenset(newest.get("blocking", ())),
        time=dt.datetime.fromisoformat(time) if time else None,
    )


def is_old(recorded: Recorded, rules: GateRules, now: dt.datetime, *, share: int = 1) -> bool:
    """Whether a verdict is older than policy allows, or than a part of that."""
    if rules.verdict_hours is None:
        return False
    return recorded.time is None or now - recorded.time > dt.timedelta(hours=rules.verdict_hours) / share


def _overdue(rescanned: Rescanned, now: dt.datetime) -> Verdict:
    """Of what could not be judged: the verdict that its age alone gives."""
    if not is_old(rescanned.before, rescanned.rules, now):
        return rescanned.verdict
    hours = rescanned.rules.verdict_hours
    reason = f"verdict: older than the {hours} hours that policy allows, and not renewed: {rescanned.trouble}"
    return replace(rescanned.verdict, reasons=(reason,), blocking=())


# what is written -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marks:
    """One commit of the environment repository: the verdicts on one image that have changed."""

    files: Mapping[str, bytes]
    subject: str
    trailers: Trailers


def marks(
    rescanned: Iterable[Rescanned], scan: Scan, *, policy_commit: str, builder: str, run: str, now: dt.datetime
) -> Marks | None:
    """What the environment repository should be told about one image; None when it knows.

    `builder` is CI's name in trust/signers.yaml.
    """
    changed = [each for each in rescanned if each.tells_more(now)]
    files = {
        rescan(each.target): statements.rescan_envelope(
            each.target.released.image,
            scan,
            environment=each.target.environment,
            verdict=each.verdict,
            policy_commit=policy_commit,
            builder=builder,
            run=run,
            finished=now,
        )
        for each in changed
        if each.target.released
    }
    if not files:
        return None
    first = changed[0].target
    assert first.released is not None  # noqa: S101 - what is not released is not judged again
    return Marks(
        files,
        subject=_subject(changed),
        trailers=Trailers(
            source_repository=first.released.source.repository,
            source_commit=first.released.newest,
            run=run,
            evidence_digest=digest(next(iter(files.values()))),
            component=first.component,
        ),
    )


def _subject(changed: Sequence[Rescanned]) -> str:
    """Says what people must know: what is not clean comes first."""
    dirty = [each.target.environment for each in changed if not each.verdict.passed]
    target = changed[0].target
    commit = target.released.newest[:12] if target.released else ""
    if dirty:
        return f"Mark {target.component} {commit} as no longer clean in {', '.join(dirty)}"
    environments = ", ".join(each.target.environment for each in changed)
    return f"Judge {target.component} {commit} again: clean in {environments}"
