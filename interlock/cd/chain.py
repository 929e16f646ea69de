"""What must be true of an image before it runs: from the binding over release, digest and signature to the tests.

Every link is looked at by itself, so that a report names all that is broken. The gate is asked once more, by the policy
of the verified commit, over everything that was ever told of the digest: what a later scan leaves out still counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from interlock.contract import dsse, evidence, layout, source_rule
from interlock.contract.attesters import Attester
from interlock.contract.canonical import digest
from interlock.contract.evidence import Base, Evidence, Json
from interlock.contract.finding import Finding, Scan
from interlock.contract.gate import NOT_SCANNED, Required, judge
from interlock.contract.models import Binding, GateRules, ReleasedComponent, Waiver
from interlock.contract.report import counted
from interlock.contract.sightings import Known, Sighting, scans, sightings
from interlock.errors import FormatError

Link = Literal["image", "digest", "release", "signature", "provenance", "scan", "tests"]
REQUIRED: tuple[Required, ...] = ("source", "code", "image", "tests")
"""What evidence must speak of; manifests CD renders and judges itself."""
_SKEW = dt.timedelta(minutes=5)
_MOST_TOLD = 5
_AGAIN = "push a commit to its source's branch: CI releases that with new evidence"


@dataclass(frozen=True)
class Fault:
    """A broken link of the chain of one image.

    `ages`: time or policy broke it, not what the evidence itself says. It keeps out what is new; what runs already
    stays, and its environment is degraded.
    """

    link: Link
    said: str
    fix: str
    ages: bool = False

    def __str__(self) -> str:
        return f"{self.link}: {self.said}; {self.fix}"


@dataclass(frozen=True)
class Remembered:
    """What rescans found in a digest: it counts until a person waives it, also when their files are gone."""

    findings: tuple[Finding, ...] = ()
    first: Mapping[str, dt.date] = field(default_factory=dict)
    """Since when each is known, by its key: no grace begins anew."""
    marks: Mapping[str, dt.datetime] = field(default_factory=dict)
    """The keys of what blocked without a finding that tells of it, such as licences, and when that was judged last."""

    def __bool__(self) -> bool:
        return bool(self.findings or self.marks)

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [asdict(each) for each in self.findings],
            "first": {key: each.isoformat() for key, each in self.first.items()},
            "marks": {key: each.isoformat() for key, each in self.marks.items()},
        }

    def __or__(self, other: Remembered) -> Remembered:
        keys = sorted({*self.first, *other.first})
        first = {key: min(each[key] for each in (self.first, other.first) if key in each) for key in keys}
        keys = sorted({*self.marks, *other.marks})
        marks = {key: max(each[key] for each in (self.marks, other.marks) if key in each) for key in keys}
        return Remembered(tuple(dict.fromkeys((*self.findings, *other.findings))), first, marks)


NOTHING = Remembered()


def read_remembered(read: Any) -> Remembered:
    """Also of the form of before, which had findings alone; ValueError, KeyError or TypeError when it is neither."""
    told: Mapping[str, Any] = {"findings": read, "first": {}, "marks": {}} if isinstance(read, list) else read
    return Remembered(
        tuple(Finding(**each) for each in told["findings"]),
        {str(key): dt.date.fromisoformat(each) for key, each in told["first"].items()},
        {str(key): dt.datetime.fromisoformat(each) for key, each in told["marks"].items()},
    )


@dataclass(frozen=True)
class Released:
    """A component's release in one environment, with all that the repository tells of its image."""

    environment: str
    application: str
    component: str
    entry: ReleasedComponent
    binding: Binding
    proof: Evidence
    rescans: tuple[Evidence, ...] = ()
    """Of any environment: a finding is one wherever it was found."""
    remembered: Remembered = field(default_factory=lambda: NOTHING)
    """What earlier rescans found, whatever the newest one says."""

    @property
    def name(self) -> str:
        return f"{self.application}/{self.component}"


@dataclass(frozen=True)
class Ground:
    """By what it is judged."""

    attester: Attester | None
    rules: GateRules
    waivers: tuple[Waiver, ...]
    now: dt.datetime
    require_signatures: bool = False
    """By this host, whatever the repository says."""


@dataclass(frozen=True)
class Judged:
    faults: tuple[Fault, ...]
    remembered: Remembered = NOTHING
    """What rescans found and the gate would block, now or before."""


def judged(released: Released, ground: Ground) -> Judged:
    """Every broken link; none when the image may run."""
    all_of_them, released = len(released.rescans), _with_understood(released, ground)
    lost = all_of_them - len(released.rescans)
    try:
        faults = (
            *_signature(released, ground),
            *_together(released),
            *_provenance(released, ground),
            *_verdict(released, ground),
            *_tests(released),
            *_scans(released, ground),
            *_marks(released, ground),
            *_not_understood(lost),
        )
    except _ODD as error:
        told = error.problem if isinstance(error, FormatError) else repr(error)
        return Judged((Fault("release", f"its evidence is not understood: {told[:200]}", _AGAIN),))
    return Judged(faults, released.remembered | _kept(released, ground))


_ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, FormatError)
"""What reading of evidence ends in that is not in its form."""


def _with_understood(released: Released, ground: Ground) -> Released:
    """Nobody but CI's key has signed a rescan: one that makes no sense must not stop what runs."""
    found = replace(released, rescans=())
    for each in released.rescans:
        more = replace(found, rescans=(*found.rescans, each))
        try:
            _ = (*_verdict(more, ground), *_scans(more, ground), *_marks(more, ground), _kept(more, ground))
        except _ODD:
            continue
        found = more
    return found


def _not_understood(lost: int) -> Iterator[Fault]:
    if lost:
        said = f"{counted(lost, 'rescan')} of it cannot be understood"
        yield Fault("scan", said, "find out who wrote it; CI's next rescan takes its place", ages=True)


# signature -------------------------------------------------------------------------------------------


def _signature(released: Released, ground: Ground) -> Iterator[Fault]:
    source, attester = released.binding.source, ground.attester
    if attester is None:
        yield Fault("signature", f"{layout.ATTESTERS} has no entry for {source}", "add the public key of its signer")
    elif not attester.keys:
        if ground.require_signatures:
            fix = "set up a signer for it, and add its public key"
            yield Fault("signature", f"{layout.ATTESTERS} lets {source} go unsigned, and this host does not", fix)
    elif wrong := [name for name, each in _named(released.proof) if not _is_signed(each, attester)]:
        several = counted(len(wrong), "statement is", "statements are")
        known = ", ".join(dsse.fingerprint(each) for each in attester.keys)
        said = f"{several} not signed by a key that {layout.ATTESTERS} gives {source} ({known}): {', '.join(wrong[:3])}"
        yield Fault("signature", said, f"somebody changed it, or another signer made it; {_AGAIN}")


_NAMES = {
    evidence.PROVENANCE: "provenance",
    evidence.TEST_RESULT: "test-result",
    evidence.VULNERABILITIES: "scan",
    evidence.GATE_VERDICT: "gate-verdict",
    evidence.REFERENCE: "reference",
}


def _named(proof: Evidence) -> Iterator[tuple[str, dsse.Envelope]]:
    for statement, envelope in zip(proof.statements, proof.envelopes, strict=True):
        yield _NAMES.get(statement.predicate_type, statement.predicate_type[:60]), envelope


def _is_signed(envelope: dsse.Envelope, attester: Attester) -> bool:
    return any(dsse.is_signed_envelope(envelope, key) for key in attester.keys)


def _together(released: Released) -> Iterator[Fault]:
    """Each statement is signed by itself: those of two signings must not be put together into one that says less."""
    beside = sorted(
        digest(each.payload) for each in released.proof.statements if each.predicate_type != evidence.GATE_VERDICT
    )
    for verdict in released.proof.predicates(evidence.GATE_VERDICT):
        if evidence.INPUTS in verdict:
            named = sorted(f"sha256:{each['digest']['sha256']}" for each in verdict[evidence.INPUTS])
            fits = named == beside
        else:
            fits = _is_of_one_run(released.proof, verdict)
        if not fits:
            yield Fault("signature", "its statements were not made together with its verdict", _AGAIN)


def _is_of_one_run(proof: Evidence, verdict: Json) -> bool:
    """Of a verdict made before verdicts named what they rest on: one run and one moment made all that tells of them."""
    (run,) = [each["runDetails"]["metadata"] for each in proof.predicates(evidence.PROVENANCE)]
    found = {(run["invocationId"], run["finishedOn"])}
    for each in proof.predicates(evidence.VULNERABILITIES):
        found.add((each["invocation"]["event_id"], each["metadata"]["scanFinishedOn"]))
    return found == {(run["invocationId"], verdict["timeVerified"])}


# provenance ------------------------------------------------------------------------------------------


def _provenance(released: Released, ground: Ground) -> Iterator[Fault]:
    """That it is about this source and commit, the repository's reader has seen to."""
    (said,) = released.proof.predicates(evidence.PROVENANCE)
    builder, wanted = said["runDetails"]["builder"]["id"], f"urn:interlock:ci:{released.binding.signer}"
    if builder != wanted:
        yield Fault("provenance", f"it was built by {str(builder)[:100]}, the binding gives it to {wanted}", _AGAIN)
    internal = said["buildDefinition"]["internalParameters"]
    if (head := internal.get("head")) != released.entry.newest:
        told = f"the release names the commit {released.entry.newest[:12]}, the evidence {str(head)[:12]}"
        yield Fault("provenance", told, _AGAIN)
    branch = ground.attester.branch if ground.attester else None
    if branch and internal.get("branch") != branch:
        told = f"it names the branch {str(internal.get('branch', 'of no name'))[:100]}, not {branch}"
        yield Fault("provenance", told, _AGAIN, ages=True)  # whoever adds the rule later must not stop what runs
    if ground.attester and source_rule.asks(ground.attester):
        key = str(internal.get("commitKey", "nobody"))[:100]
        if key not in source_rule.fingerprints(ground.attester):
            yield Fault(
                "provenance", f"its commit is signed by {key}, whom `commit_keys` does not name", _AGAIN, ages=True
            )
    if not str(internal.get("imageId", "")).startswith("sha256:"):
        yield Fault("provenance", "it does not say which image the digest is: it may be an index of several", _AGAIN)


# what was judged -------------------------------------------------------------------------------------


def _own(released: Released) -> Json:
    """CI's verdict for this environment."""
    (found,) = [
        each for each in released.proof.predicates(evidence.GATE_VERDICT) if each["environment"] == released.environment
    ]
    return found


def _verdict(released: Released, ground: Ground) -> Iterator[Fault]:
    verdicts = released.proof.predicates(evidence.GATE_VERDICT)
    if [each["environment"] for each in verdicts] != [released.environment]:
        yield Fault("scan", f"it does not have one verdict for {released.environment}", _AGAIN)
        return
    own = _own(released)
    if own["result"] != "PASSED":
        yield Fault("scan", "CI's own verdict is that it may not be released", _AGAIN)
    judged_at = _time(own)
    if judged_at > ground.now + _SKEW:
        yield Fault("scan", f"its verdict is of {judged_at:%Y-%m-%d %H:%M} UTC, which is to come", "set the clocks")
    for each in released.proof.predicates(evidence.VULNERABILITIES):
        yield from _database(each["scanner"], judged_at, ground.rules)
    later = [_time(each) for proof in released.rescans for each in _verdicts(proof)]
    newest = max([judged_at, *(each for each in later if each <= ground.now + _SKEW)])
    hours = (ground.now - newest).total_seconds() / 3600
    if ground.rules.verdict_hours is not None and hours > ground.rules.verdict_hours:
        said = f"its newest verdict is {hours:.0f} hours old, policy allows {ground.rules.verdict_hours}"
        yield Fault("scan", said, "let CI rescan it, or release it again", ages=True)


def _verdicts(proof: Evidence) -> Iterator[Json]:
    yield from (each for each in proof.predicates(evidence.GATE_VERDICT) if "timeVerified" in each)


def _time(verdict: Json) -> dt.datetime:
    return dt.datetime.fromisoformat(verdict["timeVerified"])


def _database(scanner: Json, judged_at: dt.datetime, rules: GateRules) -> Iterator[Fault]:
    database: Mapping[str, Any] = scanner["db"]
    if not database or database.get("pinned"):
        return
    hours = (judged_at - dt.datetime.fromisoformat(database["version"])).total_seconds() / 3600
    if hours > rules.database_hours:
        said = f"the vulnerability database was {hours:.0f} hours old, policy allows {rules.database_hours}"
        yield Fault("scan", f"{scanner['result']['scanned']}: {said}", _AGAIN, ages=True)


def _tests(released: Released) -> Iterator[Fault]:
    found = released.proof.predicates(evidence.TEST_RESULT)
    if len(found) != 1:
        yield Fault("tests", f"it has {counted(len(found), 'report')} of tests, not one", _AGAIN)
        return
    if found[0]["result"] != "PASSED" or found[0]["failedTests"]:
        yield Fault("tests", "they failed", _AGAIN)
    if not found[0]["passedTests"]:
        yield Fault("tests", "no test ran", _AGAIN)


# the gate, once more ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ran:
    """The tests are a link of their own."""

    problems: tuple[str, ...] = ()


_UNSCANNED = tuple(f"{subject}: {NOT_SCANNED}" for subject in REQUIRED)


def _scans(released: Released, ground: Ground) -> Iterator[Fault]:
    own, later = scans(released.proof), [scan for proof in released.rescans for scan in scans(proof)]
    later.append(Scan("image", findings=released.remembered.findings))
    subjects = {scan.subject for scan in own}
    verdict = judge(
        # Licences are those of the release: a rescan, with the bill of materials alone, finds no others.
        [*own, *(replace(scan, licences=True) for scan in later if scan.subject in subjects)],
        _Ran(),
        bases=_taken(released),
        rules=ground.rules,
        waivers=ground.waivers,
        component=released.component,
        now=ground.now,
        required=REQUIRED,
        known=Known(_seen(released)),
    )
    missing = [reason for reason in verdict.reasons if reason.startswith(_UNSCANNED)]
    yield from (Fault("scan", reason, _AGAIN) for reason in missing)
    other = [reason for reason in verdict.reasons if reason not in missing]
    if other:
        more = f" and {len(other) - _MOST_TOLD} more" if len(other) > _MOST_TOLD else ""
        said = f"the gate says no: {'; '.join(other[:_MOST_TOLD])}{more}"
        fix = f"release a mended version, or let a person waive it in {layout.WAIVERS}"
        yield Fault("scan", said, fix, ages=True)


def _taken(released: Released) -> tuple[Base, ...] | None:
    """What the image was built from. None: another pipeline built it, and nobody here knows from what."""
    (said,) = released.proof.predicates(evidence.PROVENANCE)
    return None if said["buildDefinition"]["internalParameters"].get("given") else evidence.bases(said)


def _marks(released: Released, ground: Ground) -> Iterator[Fault]:
    """What a rescan for this environment blocks it by and no finding tells of: licences, or the verdict's age."""
    told = _told(released)
    today = ground.now.astimezone(dt.UTC).date()
    mine = [each for each in ground.waivers if each.component in ("*", released.component)]
    passing = {each.finding for each in mine if today <= each.ends}
    found: list[str] = []
    for verdict in _failed(released):
        keys = [str(key) for key in verdict.get("blocking", ())]
        found += keys
        if not keys:
            why = "; ".join(map(str, verdict["reasons"][:_MOST_TOLD]))
            yield Fault("scan", f"a rescan marked it as no longer clean: {why}", _AGAIN, ages=True)
    own = max(map(_time, _verdicts(released.proof)), default=None)
    found += [key for key, when in released.remembered.marks.items() if own is None or own <= when]
    other = [key for key in dict.fromkeys(found) if key not in told and not {key, key.partition("@")[0]} & passing]
    if other:
        why = ", ".join(other[:_MOST_TOLD])
        yield Fault("scan", f"a rescan marked it as no longer clean: {why}", _AGAIN, ages=True)


def _failed(released: Released) -> Iterator[Json]:
    """The verdicts of rescans for this environment that it did not pass."""
    for proof in released.rescans:
        for verdict in proof.predicates(evidence.GATE_VERDICT):
            if verdict["environment"] == released.environment and verdict["result"] != "PASSED":
                yield verdict


def _told(released: Released) -> set[str]:
    """The keys of what the gate is asked about once more."""
    every = [scan for proof in (released.proof, *released.rescans) for scan in scans(proof)]
    return {each.key for each in (*released.remembered.findings, *(one for scan in every for one in scan.findings))}


_LONG_AGO = dt.date(1970, 1, 1)
"""Of a finding that was remembered before its day was: it had blocked already."""


def _seen(released: Released) -> dict[str, Sighting]:
    """Since when each finding is known, by whoever knew it first."""
    first = {each.key: released.remembered.first.get(each.key, _LONG_AGO) for each in released.remembered.findings}
    seen = {key: Sighting(day, day) for key, day in first.items()}
    for proof in (released.proof, *released.rescans):
        for key, each in sightings(proof).items():
            seen[key] = min(seen.get(key, each), each, key=lambda one: one.first)
    return seen


def _kept(released: Released, ground: Ground) -> Remembered:
    """What rescans have marked."""
    marked: list[Finding] = []
    for proof in released.rescans:
        blocking = {key for verdict in proof.predicates(evidence.GATE_VERDICT) for key in verdict.get("blocking", ())}
        marked += [each for scan in scans(proof) for each in scan.findings if each.key in blocking]
    seen, today, told = _seen(released), ground.now.astimezone(dt.UTC).date(), _told(released)
    marks = {
        str(key): _time(verdict)
        for verdict in _failed(released)
        for key in verdict.get("blocking", ())
        if str(key) not in told
    }
    first = {each.key: min(seen[each.key].first, today) if each.key in seen else today for each in marked}
    return Remembered(tuple(dict.fromkeys(marked)), first, marks)


# what the repository has of an image -----------------------------------------------------------------


def marks_of(bindings: Iterable[Binding], image: str) -> Sequence[str]:
    """Where rescans of an image would be, in every environment that it may be released to."""
    repository, _, found = image.partition("@")
    return [
        layout.rescan(environment, each.application, each.component, found)
        for each in bindings
        if each.image == repository
        for environment in each.environments
    ]
