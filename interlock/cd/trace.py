"""From a pod, an image, a commit, a person or a date to the whole chain: source, scans, image, release, approvals,
plan, sync, pods. Pure: what is read for it is `tasks.cd.trace`'s.

Who did something comes from signatures: of commits, as verification named them, and of receipts.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from interlock.cd.receipts import Agreed, Changed, Entry, Released, SignedCommit
from interlock.contract import evidence
from interlock.contract.brought import Brought
from interlock.contract.evidence import Evidence, Json
from interlock.contract.report import Branch, Report, Table, counted
from interlock.errors import ParameterError

Sort = Literal["image", "commit", "date", "pod", "name"]
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_IMAGE = re.compile(r"(?:[^\s@]*@)?sha256:([0-9a-f]{12,64})")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d))?Z?)?")
_POD = re.compile(r"(?:pods?/)?([a-z0-9-]+)/([a-z0-9.-]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
MOST_SYNCS = 50
MOST_CHAINS = 30
_DONE_WELL = frozenset({"healthy", "removed"})


@dataclass(frozen=True)
class Query:
    """What is asked for. `value` is a digest's hexadecimal digits, a commit's, a UTC time, a pod's name, or a name."""

    sort: Sort
    value: str
    namespace: str = ""

    def __str__(self) -> str:
        words = {"image": f"image sha256:{self.value[:12]}", "commit": f"commit {self.value[:12]}"}
        words |= {"pod": f"pod {self.namespace}/{self.value}", "date": _when(self.value)}
        return words.get(self.sort, self.value)


def parse(text: str) -> Query:
    """What a text names; ParameterError when it can be nothing of what is known."""
    if found := _IMAGE.fullmatch(text):
        return Query("image", found[1])
    if found := _DATE.fullmatch(text):
        return Query("date", _moment(text, found[1], found[2], found[3]))
    if _COMMIT.fullmatch(text):
        return Query("commit", text)
    if found := _POD.fullmatch(text):
        return Query("pod", found[2], found[1])
    if _NAME.fullmatch(text):
        return Query("name", text)
    raise ParameterError(
        f"{text[:80]!r}: nothing that can be traced",
        hint="give a pod (NAMESPACE/NAME), an image's digest (sha256:…), a commit (7 to 40 hex digits), "
        "a signer's or an application's name, or a date (2026-01-31, 2026-01-31T12:00)",
    )


def is_commit(text: str) -> bool:
    """Whether it has the form of a commit id, or of the beginning of one."""
    return bool(_COMMIT.fullmatch(text))


def _moment(text: str, day: str, clock: str | None, seconds: str | None) -> str:
    """A day alone means its end: what ran when it was over."""
    value = f"{day}T{clock or '23:59'}:{seconds or ('00' if clock else '59')}Z"
    try:
        dt.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - only whether there is such a day
    except ValueError:
        raise ParameterError(f"{text}: there is no such time", hint="UTC, as in 2026-01-31T12:00") from None
    return value


# what is known ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sync:
    """An intent with its result; without one the run was killed, or is at work."""

    environment: str
    intent: Entry
    result: Entry | None

    @property
    def commit(self) -> str:
        said = self.intent.statement
        return said.commit or said.verified or ""

    @property
    def outcome(self) -> str:
        return self.result.statement.outcome if self.result else "open"

    @property
    def ended(self) -> str:
        return self.result.receipt.time if self.result else ""

    @property
    def well(self) -> bool:
        return self.outcome in _DONE_WELL

    @property
    def commits(self) -> tuple[SignedCommit, ...]:
        return self.intent.statement.commits

    @property
    def objects(self) -> tuple[Changed, ...]:
        return self.intent.statement.objects


@dataclass(frozen=True)
class Pod:
    """A pod that has one of our images now."""

    namespace: str
    name: str
    images: tuple[str, ...]
    """Digests, `sha256:…`: of what the spec names, and of what the node runs."""
    phase: str
    started: str
    node: str = ""


@dataclass(frozen=True)
class Known:
    """Everything that was read of one environment."""

    environment: str
    entries: tuple[Entry, ...]
    releases: Mapping[str, tuple[Released, ...]] = field(default_factory=dict)
    """By commit: for receipts of format 1, which do not say it themselves."""
    brought: Mapping[tuple[str, str, str], Brought] = field(default_factory=dict)
    """By application, component and image."""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    """By its digest."""
    pods: tuple[Pod, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One link of the chain, in lines. `tone` as a Branch has it."""

    name: str
    lines: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True)
class Chain:
    """One component's release in one environment, from source to pods."""

    environment: str
    application: str
    component: str
    image: str
    steps: tuple[Step, ...]
    now: bool = False
    """Whether the environment's last good sync has it."""

    @property
    def title(self) -> str:
        return f"{self.environment}: {self.application}/{self.component}"


@dataclass(frozen=True)
class Trace:
    """The answer: the syncs that have to do with what was asked, and the chains of what they brought."""

    query: str
    said: str
    syncs: tuple[Sync, ...]
    chains: tuple[Chain, ...]
    others: tuple[Entry, ...] = ()
    """Refusals, holds and the like that have to do with it."""
    unread: tuple[str, ...] = ()
    more: int = 0
    """How many older syncs there are beyond those that are told."""


def syncs(environment: str, entries: Sequence[Entry]) -> tuple[Sync, ...]:
    """The syncs of one environment, oldest first."""
    results = {each.statement.intent: each for each in entries if each.statement.kind == "result"}
    intents = (each for each in entries if each.statement.kind == "intent")
    return tuple(Sync(environment, each, results.get(each.digest)) for each in intents)


def released(known: Known, sync: Sync) -> tuple[Released, ...]:
    """What the environment had of releases at the sync's commit."""
    return sync.intent.statement.releases or known.releases.get(sync.commit, ())


# which -----------------------------------------------------------------------------------------------


def trace(query: Query, found: Iterable[Known]) -> Trace:
    """What is known of what was asked for, in all environments."""
    everything = tuple(found)
    query = _resolved(query, everything)
    picked: list[tuple[Known, Sync, tuple[Released, ...]]] = []
    others: list[Entry] = []
    for known in everything:
        picked += _picked(query, known)
        others += [each for each in known.entries if _concerns(query, each)]
    newest = picked[-MOST_SYNCS:]
    chains: dict[tuple[str, str, str, str], Chain] = {}
    for known, _, components in reversed(newest):
        for each in components:
            key = (known.environment, each.application, each.component, each.image)
            if key not in chains and len(chains) < MOST_CHAINS:
                chains[key] = _chain(known, each)
    unread = tuple(line for known in everything for line in known.unread)
    said = _said(query, everything, [sync for _, sync, _ in picked], len(chains), len(others))
    return Trace(
        query=str(query),
        said=said,
        syncs=tuple(sync for _, sync, _ in newest),
        chains=tuple(chains.values()),
        others=tuple(others[-MOST_SYNCS:]),
        unread=unread,
        more=len(picked) - len(newest),
    )


def _resolved(query: Query, everything: Sequence[Known]) -> Query:
    """A name without its namespace is a pod's, where a pod is called so."""
    if query.sort != "name":
        return query
    mine = (pod for known in everything for pod in known.pods if pod.name == query.value)
    return next((Query("pod", pod.name, pod.namespace) for pod in mine), query)


def _picked(query: Query, known: Known) -> Iterator[tuple[Known, Sync, tuple[Released, ...]]]:
    """The syncs that have to do with it, and which of their releases."""
    all_ = syncs(known.environment, known.entries)
    if query.sort == "date":
        before = [each for each in all_ if each.well and each.ended <= query.value]
        yield from ((known, each, released(known, each)) for each in before[-1:])
        return
    images = _images(query, known)
    before_: frozenset[Released] = frozenset()
    for sync in all_:
        have = released(known, sync)
        new = [each for each in have if each not in before_]
        before_ = frozenset(have)
        if query.sort in {"image", "pod"}:
            mine = [each for each in new if any(digest in each.image for digest in images)]
        elif query.sort == "commit":
            mine = [each for each in new if each.source.commit.startswith(query.value)]
            mine = mine or (new if _brings(sync, query.value) else [])
            if not mine and _brings(sync, query.value):
                yield known, sync, ()
        else:
            mine = [each for each in new if each.application == query.value]
            if not mine and _by(sync, query.value):
                yield known, sync, tuple(new)
        if mine:
            yield known, sync, tuple(mine)


def _images(query: Query, known: Known) -> tuple[str, ...]:
    if query.sort == "image":
        return (f"sha256:{query.value}",)
    pods = (pod for pod in known.pods if query.sort == "pod" and _is(query, pod))
    return tuple(image for pod in pods for image in pod.images)


def _is(query: Query, pod: Pod) -> bool:
    return pod.name == query.value and pod.namespace == query.namespace


def _brings(sync: Sync, commit: str) -> bool:
    return sync.commit.startswith(commit) or any(each.commit.startswith(commit) for each in sync.commits)


def _by(sync: Sync, person: str) -> bool:
    agreed = any(each.person == person for each in sync.intent.statement.approvals)
    return agreed or any(each.signer == person for each in sync.commits)


def _concerns(query: Query, entry: Entry) -> bool:
    """Of receipts that are no syncs: those about the commit, or by the person."""
    said = entry.statement
    if said.kind in {"intent", "result"}:
        return False
    if query.sort == "commit":
        return bool(said.commit and said.commit.startswith(query.value))
    people = {each.signer for each in said.commits} | {each.person for each in said.approvals}
    return query.sort == "name" and query.value in people


def _said(query: Query, known: Sequence[Known], picked: Sequence[Sync], chains: int, others: int) -> str:
    if not picked and others:
        return f"no sync has had it; {counted(others, 'other receipt')} about it"
    if not picked:
        read = sum(len(each.entries) for each in known)
        spaces = counted(sum(bool(each.environment) for each in known), "environment")
        return f"nothing is known of it in {counted(read, 'receipt')} of {spaces}"
    if query.sort == "date":
        return "what ran then"
    spaces = ", ".join(sorted({each.environment for each in picked}))
    what = f"{counted(chains, 'release')} by " if chains else ""
    return f"{what}{counted(len(picked), 'sync')} of {spaces}"


# the chain -------------------------------------------------------------------------------------------


def _chain(known: Known, each: Released) -> Chain:
    mine = [sync for sync in syncs(known.environment, known.entries) if each in released(known, sync)]
    good = [sync for sync in syncs(known.environment, known.entries) if sync.well]
    brought = known.brought.get((each.application, each.component, each.image))
    first = next((sync for sync in mine if sync.well), mine[0] if mine else None)
    digest = each.image.partition("@")[2]
    pods = [pod for pod in known.pods if digest in pod.images]
    steps = (
        Step("source", (f"{each.source.repository} {each.source.commit[:12]}",)),
        *_evidence_steps(known.evidence.get(each.evidence), each, known.environment),
        _release_step(brought),
        *_sync_steps(first, known),
        _pods_step(pods),
    )
    now = bool(good) and each in released(known, good[-1])
    return Chain(known.environment, each.application, each.component, each.image, steps, now)


def _evidence_steps(found: Evidence | None, each: Released, environment: str) -> Iterator[Step]:
    name, _, digest = each.image.partition("@")
    if found is None:
        yield Step("scans", (f"its evidence {each.evidence[:19]} is not in the repository",), "bad")
        yield Step("image", (f"{name}@{digest[:19]}",))
        return
    verdicts = [each_ for each_ in found.predicates(evidence.GATE_VERDICT) if each_.get("environment") == environment]
    tests = found.predicates(evidence.TEST_RESULT)
    yield Step("tests", tuple(map(_tests, tests)) or ("none are in its evidence",), "" if tests else "odd")
    scans = found.predicates(evidence.VULNERABILITIES)
    yield Step("scans", tuple(map(_scan, scans)) or ("none is in its evidence",), "" if scans else "bad")
    passed = all(verdict.get("result") == "PASSED" for verdict in verdicts)
    gate = tuple(map(_verdict, verdicts)) or (f"no verdict for {environment} is in its evidence",)
    yield Step("gate", gate, "good" if verdicts and passed else "bad")
    yield Step("image", (f"{name}@{digest[:19]}", *map(_built, found.predicates(evidence.PROVENANCE))))


def _tests(said: Json) -> str:
    count = {word: len(said.get(f"{word}Tests") or ()) for word in ("passed", "failed", "warned")}
    parts = [f"{number} {'skipped' if word == 'warned' else word}" for word, number in count.items() if number]
    return f"{str(said.get('result', 'unknown')).lower()}: {', '.join(parts) or 'none ran'}"


def _scan(said: Json) -> str:
    scanner: Json = said.get("scanner") or {}
    result: Json = scanner.get("result") or {}
    severities = Counter(str(each.get("severity", "unknown")).lower() for each in result.get("findings") or ())
    found = ", ".join(f"{count} {severity}" for severity, count in sorted(severities.items())) or "nothing found"
    updated = (scanner.get("db") or {}).get("lastUpdate") or (scanner.get("db") or {}).get("version") or ""
    name = str(scanner.get("uri", "a scanner")).rpartition("/")[2]
    when = str((said.get("metadata") or {}).get("scanFinishedOn", ""))
    parts = [f"{result.get('scanned', 'image')} by {name} {scanner.get('version', '')}".strip(), found]
    parts += [f"at {_when(when)}"] if when else []
    return "; ".join((*parts, *([f"database {updated}"] if updated else [])))


def _verdict(said: Json) -> str:
    policy = str((said.get("policy") or {}).get("commit", ""))[:12]
    waived = len(said.get("waived") or ())
    words = f"{str(said.get('result', 'unknown')).lower()} by the policy of {policy}"
    return words + (f", {counted(waived, 'finding')} waived" if waived else "")


def _built(said: Json) -> str:
    run: Json = said.get("runDetails") or {}
    finished = str((run.get("metadata") or {}).get("finishedOn", ""))
    builder = str((run.get("builder") or {}).get("id", "an unknown builder"))
    return f"built by {builder}" + (f" at {_when(finished)}" if finished else "")


def _release_step(found: Brought | None) -> Step:
    if found is None:
        return Step("release", ("the commit that wrote it is not in the branch's history",), "bad")
    return Step("release", (f"commit {found.commit[:12]} signed by {found.signer}, {_when(found.time)}",))


def _sync_steps(sync: Sync | None, known: Known) -> Iterator[Step]:
    if sync is None:
        yield Step("sync", ("no sync has had it",), "odd")
        return
    said = sync.intent.statement
    yield Step("approvals", tuple(map(_approval, _approvals(sync, known))) or ("the receipts name none",))
    counts = ", ".join(f"{count} {word}" for word, count in said.counts.items()) or "nothing to write"
    yield Step("plan", (f"{(said.plan or '')[:19]}: {counts}", *_told(sync)))
    ended = f", {_when(sync.ended)}" if sync.ended else ""
    number = (
        f"receipts {sync.intent.number} and {sync.result.number}" if sync.result else f"receipt {sync.intent.number}"
    )
    commit = f"commit {sync.commit[:12]}" if sync.commit else "a commit that the receipt does not name"
    yield Step("sync", (f"{sync.outcome}{ended}: {commit}, {number}, by {said.actor}",), "good" if sync.well else "bad")


def _approvals(sync: Sync, known: Known) -> tuple[Agreed, ...]:
    """What the intent names, and the receipts of approvals about its commit before it."""
    said = [*sync.intent.statement.approvals]
    for entry in known.entries:
        mine = entry.statement.kind == "approval" and entry.statement.commit == sync.commit
        if mine and entry.number < sync.intent.number:
            said += [each for each in entry.statement.approvals if each not in said]
    return tuple(said)


def _approval(said: Agreed) -> str:
    until = f", holds until {_when(said.until)}" if said.until else ""
    how = f" by {said.review}, as the forge says" if said.review else ""
    return f"{said.person}{how}{until}, statement {said.statement[:19]}"


_MOST_OBJECTS = 8


def _told(sync: Sync) -> Iterator[str]:
    for each in sync.objects[:_MOST_OBJECTS]:
        yield f"{each.action} {each.object}"
    more = len(sync.objects) - _MOST_OBJECTS + sync.intent.statement.more.get("objects", 0)
    if more > 0:
        yield f"… and {counted(more, 'object')} more"


_MOST_PODS = 10


def _pods_step(pods: Sequence[Pod]) -> Step:
    lines = [f"{each.namespace}/{each.name}: {each.phase}, since {_when(each.started)}" for each in pods[:_MOST_PODS]]
    if len(pods) > _MOST_PODS:
        lines.append(f"… and {len(pods) - _MOST_PODS} more")
    tone = "good" if all(each.phase == "Running" for each in pods) else "odd"
    return Step("pods", tuple(lines) or ("none has it now",), tone if pods else "quiet")


def _when(time: str) -> str:
    """To the minute, for people."""
    return f"{time[:16].replace('T', ' ')} UTC" if time else "unknown"


# as a report -----------------------------------------------------------------------------------------


def report(found: Trace) -> Report:
    """For a terminal a tree, for a page tables, and the same as data."""
    tree = [*(_branch(each) for each in found.chains)]
    if found.syncs:
        lines = tuple(Branch(f"{row[0]} {row[1]}: {row[4]} {row[3]}, {row[2]}, {row[5]}") for row in _sync_rows(found))
        tree.append(Branch("syncs, newest first", lines))
    if found.others:
        tree.append(Branch("other receipts", tuple(Branch(_other(each)) for each in found.others)))
    tree += [Branch(f"not read: {line}", tone="odd") for line in found.unread]
    tables = [_table(each) for each in found.chains]
    if found.syncs:
        columns = ("environment", "receipt", "time", "commit", "outcome", "signed by")
        tables.append(Table.of(*columns, rows=_sync_rows(found)))
    return Report("trace", f"{found.query}: {found.said}", "", tuple(tables), data(found), tuple(tree))


def _branch(chain: Chain) -> Branch:
    below = [
        Branch(f"{step.name}: {step.lines[0]}", tuple(map(Branch, step.lines[1:])), step.tone) for step in chain.steps
    ]
    return Branch(f"{chain.title} ({'runs now' if chain.now else 'ran'})", tuple(below))


def _table(chain: Chain) -> Table:
    rows: list[tuple[str, ...]] = [
        (step.name if at == 0 else "", line) for step in chain.steps for at, line in enumerate(step.lines)
    ]
    return Table.of(chain.title, "runs now" if chain.now else "ran", rows=rows)


def _sync_rows(found: Trace) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in reversed(found.syncs):
        who = ", ".join(dict.fromkeys(commit.signer for commit in each.commits)) or "nobody new"
        time = _when(each.ended or each.intent.receipt.time)
        rows.append((each.environment, f"#{each.intent.number}", time, each.commit[:12], each.outcome, who))
    return rows


def _other(entry: Entry) -> str:
    said = entry.statement
    first = (said.note or said.about).splitlines()[:1]
    outcome = f" {said.outcome}" if said.outcome else ""
    told = f"{said.kind}{outcome} {''.join(first)}".rstrip()
    return f"{said.environment} #{entry.number} {_when(entry.receipt.time)}: {told}"


def data(found: Trace) -> dict[str, object]:
    return {
        "query": found.query,
        "said": found.said,
        "chains": [
            {
                "environment": each.environment,
                "application": each.application,
                "component": each.component,
                "image": each.image,
                "now": each.now,
                "steps": {step.name: list(step.lines) for step in each.steps},
            }
            for each in found.chains
        ],
        "syncs": [
            {
                "environment": each.environment,
                "commit": each.commit,
                "began": each.intent.receipt.time,
                "ended": each.ended,
                "outcome": each.outcome,
                "signers": [commit.model_dump(mode="json") for commit in each.commits],
                "plan": each.intent.statement.plan,
                "objects": [one.model_dump(mode="json") for one in each.objects],
                "receipts": [entry.path for entry in (each.intent, each.result) if entry],
            }
            for each in found.syncs
        ],
        "others": [entry.path for entry in found.others],
        "unread": list(found.unread),
        "more": found.more,
    }
