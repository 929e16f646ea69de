"""What deploy, resync and plan have in common: from the branch's head to a plan, and from a plan to a healthy cluster.

Each line of an order is one step; the decisions are in `interlock.cd`, the effects in `tasks`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, cast

from prefect.context import FlowRunContext

from flows.cd import agreement, prevention
from flows.cd.clock import require_clock
from flows.cd.evidence import proven
from flows.cd.holding import require_free
from flows.cd.receipts import (
    checkpoint,
    close_interrupted,
    facts,
    receipt,
    remembering,
    tell_approvals,
    tell_held_back,
    tell_rollback,
    tell_thawed,
)
from flows.cd.removal import pruned, require_gone
from flows.cd.rollout import applied
from flows.cd.scope import scope_of
from flows.presenter import Presenter
from interlock.cd import plan_report, receipt_facts, reports
from interlock.cd.advance import Advance, begun
from interlock.cd.budget import allowance
from interlock.cd.explain import explained
from interlock.cd.host import CdHost, Ceiling
from interlock.cd.lock import MARGIN_SECONDS, SECONDS
from interlock.cd.permissions import Lacking, forbidden
from interlock.cd.plan import Action, Plan, Scope
from interlock.cd.policed import to_judge, versions_differ
from interlock.cd.proofs import NOT_ASKED, Proven
from interlock.cd.receipt_facts import numbered, open_intent
from interlock.cd.receipts import Entry, Kind
from interlock.cd.record import Known, Mark, Record, agreed, require_contained
from interlock.cd.release_jobs import apart, for_release, planned
from interlock.cd.reports import Outcome, refusal_rule
from interlock.cd.reviewed import Reviewed, require_same
from interlock.cd.roll import rolled
from interlock.contract.approvals import Question
from interlock.contract.canonical import digest
from interlock.contract.kinds import BUILT_IN_GROUPS
from interlock.contract.render import Manifest, Rendered
from interlock.contract.report import counted
from interlock.contract.repository import Environment
from interlock.errors import (
    AwaitsApproval,
    Blocked,
    ClusterError,
    ForgeError,
    InputError,
    InterlockError,
    LedgerCut,
    LockHeld,
    Overtaken,
    ParameterError,
    PlanMoved,
    Refused,
    Superseded,
    UnderWay,
    Untrusted,
)
from tasks.cd import contests, endings, inspect, lease, ledger, looked, permissions, proofs, record, verdicts, wait
from tasks.cd.cluster import Cluster, connect
from tasks.cd.digest_key import digest_key
from tasks.cd.lease import Lock
from tasks.cd.observe import Observer, Patience
from tasks.cd.older_health import NO_OLDER, OlderHealth, older_health
from tasks.cd.record import Stored
from tasks.cd.rules import hold_to_rules
from tasks.cd.secrets import open_secrets
from tasks.common import git, renders
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.garbage import collected_rarely
from tasks.common.render import render_environment

T = TypeVar("T")
U = TypeVar("U")
LOCK_SECONDS = 90.0
"""How long a run waits for the environment's lock."""
UPKEEP_LOCK_SECONDS = SECONDS + 2 * MARGIN_SECONDS
"""How long an upkeep does: whoever has the lock still is alive, and at the same work."""
LOOKS = 5
"""How often a run looks at an environment that others move on each time meanwhile."""
MISMATCH_PAUSES = (1.0, 2.0, 4.0)
"""Seconds before record, mark and ledger are looked at once more."""


@dataclass
class Site:
    """One environment that an order works on, as far as this host knows it."""

    presenter: Presenter
    host: CdHost
    name: str
    cluster: Cluster
    what: str
    """`deploy`, `resync` or `plan`."""
    actor: str
    prove_all: bool = False
    """Whether every new object goes through a dry run."""
    proposed: VerifiedHead | None = None
    """A pull request's commit, which is planned in place of the branch's head and leaves nothing behind."""
    seconds: dict[str, float] = field(default_factory=dict)
    newest: str = ""
    """The commit that was tried last."""
    refusal: InterlockError | None = None
    """What was said of it, when it was not even read."""

    @property
    def ceiling(self) -> Ceiling:
        return self.host.environments[self.name]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds to the seconds of a stage, however it ends."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


@dataclass(frozen=True)
class Decision:
    """What is known before anything is written."""

    head: VerifiedHead
    environment: Environment
    rendered: Rendered
    mark: Mark
    stored: Stored
    known: Known
    scope: Scope
    plan: Plan
    older: OlderHealth
    """Health rules of the commits before, which still judge what this one changes."""
    tail: tuple[Entry, ...] = ()
    """The ledger's newest receipts of the environment, oldest first."""
    question: Question | None = None
    """What people have to agree to before this commit is deployed."""
    lacking: Lacking | None = None
    """What RBAC does not allow of the plan: what needs it is blocked."""
    proof: Proven = NOT_ASKED
    """What vouches for the images."""

    @property
    def commit(self) -> str:
        return self.head.commit

    @property
    def patience(self) -> Patience:
        """How the environment judges health, by its commit and those before."""
        return Patience.of(self.head.repository, self.environment, self.older)

    @property
    def settled(self) -> bool:
        """Whether the record says already that this commit is deployed."""
        return self.known.deployed == self.commit and self.known.pending is None

    @property
    def held_back(self) -> bool:
        """Whether the cluster is only observed: nothing but drift, and the environment does not undo it."""
        return self.scope.again and not self.scope.undo


@asynccontextmanager
async def opened(
    presenter: Presenter, host: CdHost, environment: str, *, what: str, actor: str, prove_all: bool = False
) -> AsyncIterator[Site]:
    """The environment, connected; ParameterError when cd.yaml does not give it to this host."""
    if environment not in host.environments:
        raise ParameterError(
            f"environment {environment} is not in this host's cd.yaml",
            hint=f"it has: {', '.join(host.environments) or 'none'}; `interlock register` adds one",
        )
    await presenter.tag(f"environment:{environment}")
    cluster = connect(host.clusters[host.environments[environment].cluster].kubeconfig)
    with cluster, collected_rarely():
        site = Site(presenter, host, environment, cluster, what, actor, prove_all)
        try:
            yield site
        except ClusterError as error:
            if error.status == 403:
                await _require_control(site, error)
            raise


async def _require_control(site: Site, refusal: ClusterError) -> None:
    """After a refusal that no plan could tell of: Blocked when it is about the lock or the record."""
    control = site.ceiling.control_namespace
    found = await asyncio.to_thread(permissions.lacking_control, site.cluster, control)
    if found is None:
        return
    await site.presenter.show(reports.permissions_report(site.name, found, control))
    raise Blocked(
        f"{site.name}: {found.username} lacks rights in the control namespace {control}",
        reasons=tuple(f"it may not {need}" for need in found.needs),
        hint=f"an administrator runs {reports.bootstrap_command(site.name, found.username, control)}",
    ) from refusal


def flow_run() -> str:
    """Who asks, for the ledger: the flow run that this is called from."""
    context = FlowRunContext.get()
    return f"flow run {context.flow_run.id}" if context and context.flow_run else "flow"


async def both(one: Awaitable[T], other: Awaitable[U]) -> tuple[T, U]:
    """Side by side, each to its end; then the error of the first that failed."""
    found, beside = await asyncio.gather(one, other, return_exceptions=True)
    for each in (found, beside):
        if isinstance(each, BaseException):
            raise each
    return cast("tuple[T, U]", (found, beside))


# deciding --------------------------------------------------------------------------------------------


async def decide(site: Site, *, at: str | None = None) -> Decision:
    """Fetch, verify, read, render and plan; writes nothing.

    `at` is a commit that was verified earlier and is decided upon instead of the branch's head, without the network.
    """
    with site.timed("fetch and verify"):
        mark, head, environment, stored, known, tail = await _grounds(site, at)
    with site.timed("render"):
        rendered = await site.presenter.step(
            render_environment, head.repository, site.name, kept=renders.path(site.host.state)
        )
        if any(each.secrets for each in environment.applications.values()):
            identity = site.ceiling.age_identity
            rendered = await site.presenter.step(open_secrets, rendered, head.repository, site.name, identity)
        older = await _older_health(site, head, rendered, known)
        rendered = for_release(rolled(rendered, key=digest_key(site.host.state)), stored.inventory)
    await require_free(site, head, rendered.manifests, deployed=known.deployed)
    with site.timed("verify evidence"):
        proof = await proven(site, head, rendered, known)
    await prevention.restored(site, rendered, head.repository)
    scope = await scope_of(site, head.repository, environment, stored=stored, known=known, rendered=rendered)
    with site.timed("plan"):
        plan = await site.presenter.step(
            inspect.make_plan,
            site.cluster,
            rendered,
            stored.inventory,
            scope,
            verdicts.path(site.host.state, site.name) if site.proposed is None else None,
            schemas=site.host.state / "schemas",
            prove_all=site.prove_all,
        )
        if not scope.again and (written := to_judge(plan, rendered.manifests)):
            plan = await _held_to_rules(site, head, written, known, plan)
        differing = versions_differ(environment.kubernetes, site.cluster.version)
        plan = replace(plan, notes=(*plan.notes, *proof.degraded, *differing))
        plan = planned(plan, rendered.manifests, stored.inventory)
        plan, lacking = await permitted(site, plan)
        plan = explained(plan, rendered.manifests, head.repository.tree)
        plan = replace(plan, blocked=begun(plan, environment).blocked)
    mark = mark or Mark(environment.id)
    fixed = at or site.proposed
    question = None if fixed else await agreement.asked(site, head, environment, deployed=known.deployed)
    return Decision(
        head, environment, apart(rendered), mark, stored, known, scope, plan, older, tail, question, lacking, proof
    )


async def _older_health(site: Site, head: VerifiedHead, rendered: Rendered, known: Known) -> OlderHealth:
    """A step only where there are custom kinds at all."""
    if all(each.identity.group in BUILT_IN_GROUPS for each in rendered.manifests):
        return NO_OLDER
    return await site.presenter.step(
        older_health,
        head.repository,
        site.name,
        rendered.manifests,
        known,
        remote=site.host.environment_repository,
        state=site.host.state,
    )


async def _held_to_rules(site: Site, head: VerifiedHead, written: Sequence[Manifest], known: Known, plan: Plan) -> Plan:
    """Judged by the commit's own rules, and by those of the verified head and of what is deployed.

    So no commit loosens the rule that judges it, also when a part of it was blocked before.
    """
    older = {commit for commit in (known.since, known.deployed) if commit and commit != head.commit}
    return await site.presenter.step(
        hold_to_rules,
        plan,
        written,
        head.repository,
        older=older,
        remote=site.host.environment_repository,
        state=site.host.state,
    )


async def _grounds(
    site: Site, at: str | None
) -> tuple[Mark | None, VerifiedHead, Environment, Stored, Known, tuple[Entry, ...]]:
    """The head, and what was deployed before.

    Another run writes the cluster's record first and this host's mark after it: what does not agree is looked at
    again, and only what stays so is a mismatch.
    """
    for seconds in (*MISMATCH_PAUSES, None):
        mark = record.read_mark(site.host.state, site.name)
        newest = site.presenter.step(
            ledger.tail, site.host.ledger, site.name, state=site.host.state, keys=ledger.keys_of(site.host)
        )
        head, tail = await both(_head(site, at, mark), newest)
        environment = _environment(site, head, mark)
        try:
            stored, known, head = await _known(site, mark, head, environment, tail=tail)
        except Refused as refusal:
            if refusal.rule != "record-mismatch" or seconds is None:
                raise
            await asyncio.sleep(seconds)
        else:
            await require_clock(site, last=tail[-1] if tail else None)
            return mark, head, environment, stored, known, tail
    raise AssertionError("the last look returns or raises")


async def _head(site: Site, at: str | None, mark: Mark | None) -> VerifiedHead:
    if site.proposed:
        return site.proposed
    return await (_read(site, at) if at else _fetched(site, mark.verified if mark else None))


async def _read(site: Site, commit: str) -> VerifiedHead:
    remote = site.host.environment_repository
    return await site.presenter.step(read_verified, remote, state=site.host.state, commit=commit)


async def _fetched(site: Site, since: str | None, *, known: VerifiedHead | None = None) -> VerifiedHead:
    remote = site.host.environment_repository
    head = await site.presenter.step(fetch_verified, remote, state=site.host.state, since=since, known=known)
    site.newest = head.commit
    return head


async def _require_agreement(site: Site, decision: Decision) -> None:
    """AwaitsApproval, with the plan to look at, when people have to agree first."""
    if decision.question and not decision.question.answered:
        await introduce(site, decision)
        await site.presenter.show(plan_report.report(decision.plan))
        raise agreement.awaits(decision.question)


def _verified(site: Site) -> str | None:
    """What is kept up while a forge is away: what it squashed is neither verified nor refused until it has answered."""
    mark = record.read_mark(site.host.state, site.name)
    return mark.verified if mark else None


async def refuse(site: Site, refusal: Refused | InputError | AwaitsApproval) -> str | None:
    """Shown every time, told to the ledger once. Gives the verified head that the cluster stays at."""
    site.newest = git.fetched_head(git.mirror_path(site.host.state, site.host.environment_repository.name)) or ""
    site.refusal = refusal
    mark = record.read_mark(site.host.state, site.name)
    await site.presenter.show(reports.refusal_report(site.name, refusal, verified=mark.verified if mark else None))
    name = digest(refusal.message.encode())
    if mark is None or mark.refused == name or isinstance(refusal, LedgerCut):
        return mark.verified if mark else None
    rule = refusal_rule(refusal)
    about = site.newest or None
    kind: Kind = "hold" if rule == "frozen" else "refusal"
    mark, _ = await receipt(site, mark, kind, outcome=rule, note=refusal.message[:2000], commit=about)
    record.write_mark(
        site.host.state, site.name, replace(mark, refused=name, frozen=mark.frozen or kind == "hold"), after=mark
    )
    return mark.verified


def _environment(site: Site, head: VerifiedHead, mark: Mark | None) -> Environment:
    """The environment as the commit has it, within what this host allows it."""
    found = head.repository.environments.get(site.name)
    if found is None:
        raise Refused(
            f"{head.commit[:12]} has no environment {site.name}",
            rule="environment-missing",
            hint="its objects stay: bring its environment.yaml back, with `state: removed` to take them away; "
            "take it out of cd.yaml when they are to stay",
        )
    if beyond := site.ceiling.beyond(found.cluster, found.namespaces, found.cluster_kinds):
        raise Refused(
            f"{head.commit[:12]}: environment {site.name} asks for {beyond}, which this host does not give it",
            rule="ceiling",
            hint="correct environment.yaml, or widen cd.yaml on the host",
        )
    if mark is not None and mark.environment_id != found.id:
        raise Refused(
            f"{head.commit[:12]}: environment {site.name} has id {found.id}, it was {mark.environment_id}",
            rule="environment-id",
            hint="an id never changes: it names the environment's objects in the cluster",
        )
    return found


async def _known(
    site: Site, mark: Mark | None, head: VerifiedHead, environment: Environment, *, tail: tuple[Entry, ...]
) -> tuple[Stored, Known, VerifiedHead]:
    """What record, mark and ledger say; after a loss everything is verified again from the root pin."""
    control = site.ceiling.control_namespace
    stored = await site.presenter.step(
        record.read_stored, site.cluster, control_namespace=control, environment_id=environment.id
    )
    count, digests = tail[-1].number if tail else 0, await _checkpoints(site, tail, (stored.record, mark))
    known = agreed(stored.record, mark, environment=site.name, receipts=count, digests=digests)
    if known.since is None and known.must_contain:
        if site.proposed:
            raise Blocked(f"{site.name}: a record was lost, and the branch is verified from the root pin first")
        head = await _fetched(site, None)
        require_contained(known, {each.commit for each in head.new_commits}, environment=site.name)
    return stored, known, head


async def _checkpoints(
    site: Site, tail: tuple[Entry, ...], keepers: Iterable[Record | Mark | None]
) -> Mapping[int, str]:
    """The digests of the newest receipts, and of older ones that record and mark remember."""
    found = numbered(tail)
    older = frozenset(each.receipts for each in keepers if each and each.receipt) - found.keys()
    if not older:
        return found
    host, keys = site.host, ledger.keys_of(site.host)
    remembered = await site.presenter.step(
        ledger.numbered, host.ledger, site.name, state=host.state, keys=keys, numbers=older
    )
    return {**numbered(remembered), **found}


def require_within_budget(plan: Plan) -> None:
    """Blocked, before anything is written, when the plan does more than the environment's budget allows."""
    if plan.over:
        raise Blocked(
            f"{plan.environment}: {plan.commit[:12]} is over the environment's budget",
            reasons=plan.over,
            hint=f"nothing was written; if that is meant, allow just this in its environment.yaml: {allowance(plan)}",
        )


async def permitted(site: Site, plan: Plan) -> tuple[Plan, Lacking | None]:
    """The plan with what RBAC does not allow blocked. Nothing is asked when there is nothing to write or to look at."""
    if not (plan.writes or plan.stops or plan.unseen):
        return plan, None
    found = await asyncio.to_thread(permissions.lacking, site.cluster, plan)
    return (forbidden(plan, found), found) if found else (plan, None)


async def show_lacking(site: Site, lacking: Lacking | None) -> None:
    """The rights that are missing, with what gives them."""
    if lacking:
        await site.presenter.show(reports.permissions_report(site.name, lacking, site.ceiling.control_namespace))


async def introduce(site: Site, decision: Decision) -> None:
    """What the run is about, for whoever opens its page."""
    remote = site.host.environment_repository
    await site.presenter.name(f"{site.what} {site.name} {decision.commit[:7]}")
    await site.presenter.tag(*(f"application:{name}" for name in sorted(decision.environment.applications)))
    if remote.web:
        await site.presenter.link("commit", f"{remote.web}{decision.commit}", f"commit {decision.commit[:12]}")
    for name in decision.rendered.awaiting:
        site.presenter.say(f"{name} awaits a first release of all of its components: nothing of it is rendered yet")


# writing ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(site: Site, decision: Decision, *, upkeep: bool) -> AsyncIterator[Lock]:
    """The environment's lock, waited for; given back however the block ends.

    An upkeep leaves the environment to whoever has the lock and lives: UnderWay.
    """
    try:
        lock = await _taken(site, decision, seconds=UPKEEP_LOCK_SECONDS if upkeep else LOCK_SECONDS)
    except LockHeld as held:
        if not upkeep:
            raise
        raise UnderWay(f"{site.name} is left to the run that is at it: {held.message}") from held
    try:
        yield lock
    finally:
        await asyncio.shield(asyncio.to_thread(lock.release))


async def _taken(site: Site, decision: Decision, *, seconds: float) -> Lock:
    with site.timed("wait for the lock"):
        return await site.presenter.step(
            lease.take,
            site.cluster,
            namespace=site.ceiling.control_namespace,
            name=decision.scope.manager,
            who=f"{lease.holder()} ({site.actor})",
            seconds=seconds,
            tell=site.presenter.say,
        )


async def decided_again(site: Site, decision: Decision, *, at: str | None) -> Decision:
    """Under the lock: the same decision while head and record are the same, else a new one, of the newest head.

    `at` keeps to a commit, because the head is no good.
    """
    mark = record.read_mark(site.host.state, site.name) or decision.mark

    async def newest() -> VerifiedHead:
        # What came meanwhile and is refused, or cannot be judged, is for the next run to tell.
        try:
            return decision.head if at else await _fetched(site, decision.commit, known=decision.head)
        except Untrusted:
            raise
        except (Refused, InputError, ForgeError):
            return decision.head

    reading = site.presenter.step(
        record.read_stored,
        site.cluster,
        control_namespace=decision.stored.control_namespace,
        environment_id=decision.environment.id,
    )
    head, stored = await both(newest(), reading)
    if head.commit == decision.commit and stored == decision.stored and mark.at == decision.mark.at:
        return replace(decision, mark=mark)
    decision = await decide(site, at=at)
    await introduce(site, decision)
    return decision


async def sync(site: Site, decision: Decision, lock: Lock, advance: Advance) -> Decision:
    """Intent, apply in order, wait, prune, record, result. Gives the decision with what is recorded now.

    Raises how it ended when an application did not get through: the others did, and `deployed` stays where it was.
    """
    plan, undoing = advance.possible(), decision.settled
    mark = decision.mark.ahead(decision.stored.record, verified=decision.commit)
    mark = record.write_mark(site.host.state, site.name, mark, after=decision.mark)
    said: dict[str, object] = {"plan": decision.plan.digest, "counts": _writes(plan), **facts(site, decision)}
    with site.timed("record"):
        mark = await close_interrupted(site, mark, decision.tail)
        mark = await tell_rollback(site, decision, mark, said)
        mark = await tell_approvals(site, mark, said)
        mark, said["intent"] = await receipt(site, mark, "intent", **said)
    now = Record(
        decision.environment.id,
        verified=decision.commit,
        deployed=decision.known.deployed,
        pending=None if undoing else decision.commit,
        allowed=decision.scope.guards.allowed if decision.plan.covered else "",
        covered="".join(sorted(decision.plan.covered)),
        after=decision.scope.after,
        receipts=mark.receipts,
        receipt=mark.receipt,
    )
    try:
        await prevention.may_run(site, decision)
        stored, advance = await applied(site, replace(decision, plan=plan), now, lock, advance)
        if plan.put_back:
            rules = decision.scope.conflicts
            await site.presenter.step(contests.note, site.host.state, site.name, plan.put_back, rules)
        stored = await pruned(site, decision, stored, lock, advance)
        _require_through(advance)
        await require_gone(site, decision, stored)
    except InterlockError as error:
        if not lock.lost:  # whoever overtook us tells how it went on
            await receipt(site, mark, "result", outcome=type(error).__name__.lower(), note=error.message[:1500], **said)
        raise
    with site.timed("record"):
        await prevention.alone_may_run(site, decision)
        ahead = mark.ahead(stored.record, deployed=decision.commit)
        mark = record.write_mark(site.host.state, site.name, ahead, after=mark)
        removed = decision.environment.removed
        done = replace(_record(stored), deployed=decision.commit, pending=None, removed=removed, allowed="", covered="")
        stored = await site.presenter.step(record.write_record, site.cluster, stored, done)
        mark, _ = await receipt(site, mark, "result", outcome="removed" if removed else "healthy", **said)
        stored = await checkpoint(site, stored, mark)
        proofs.note_deployed(site.host.state, site.name, decision.proof.digests)
    return replace(decision, stored=stored, mark=mark)


def _require_through(advance: Advance) -> None:
    if not advance.through:
        raise advance.error(written=True)


def _writes(plan: Plan) -> dict[str, int]:
    return {
        action.value: n for action in (Action.CREATE, Action.CHANGE, Action.PRUNE) if (n := len(plan.having(action)))
    }


def _record(stored: Stored) -> Record:
    assert stored.record is not None  # noqa: S101 - written before
    return stored.record


async def note_deployed(site: Site, decision: Decision) -> None:
    """A new head that changes nothing here: the record moves on, without a lock and without a receipt."""
    mark = decision.mark.ahead(decision.stored.record, verified=decision.commit, deployed=decision.commit)
    record.write_mark(site.host.state, site.name, mark, after=decision.mark)
    removed = decision.environment.removed
    now = replace(
        _record(decision.stored),
        verified=decision.commit,
        deployed=decision.commit,
        removed=removed,
        after=decision.scope.after,
    )
    await site.presenter.step(record.write_record, site.cluster, decision.stored, now)
    proofs.note_deployed(site.host.state, site.name, decision.proof.digests)


async def tell_drift(site: Site, decision: Decision) -> Decision:
    """Shown every time; told to the ledger once for the same drift."""
    plan = decision.plan
    found_at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await site.presenter.show(reports.drift_report(plan, undo=decision.scope.undo, found_at=found_at))
    if decision.mark.drift == plan.digest or decision.known.since is None:
        return decision
    word = "undo" if decision.scope.undo else "observe"
    counts = {"drifted": len(plan.drifted)}
    drifted = receipt_facts.facts(decision.environment, decision.commit, (), plan.drifted)
    mark, _ = await receipt(site, decision.mark, "drift", plan=plan.digest, counts=counts, outcome=word, **drifted)
    return remembering(site, decision, mark, drift=plan.digest)


def _outcome(site: Site, decision: Decision, said: str, *, note: str = "") -> Outcome:
    degraded = counted(len(decision.proof.degraded), "degraded proof") if decision.proof.degraded else ""
    note = "; ".join(part for part in (note, degraded) if part)
    return Outcome(site.name, decision.commit, said, _writes(decision.plan), dict(site.seconds), note)


# the whole -------------------------------------------------------------------------------------------


async def reconcile(site: Site, *, upkeep: bool = False, reviewed: Reviewed | None = None) -> Outcome:
    """Bring the environment to the newest verified commit, and undo or report what no commit explains.

    An environment that is as Git says is only read: no lock, no write, no receipt. With `upkeep`, a head that is
    refused or cannot be rendered is told of, the verified commit before it is kept up, and the refusal raised then.
    With a `reviewed` plan just that is done, or nothing.
    """
    try:
        result = await _reconciled(site, upkeep=upkeep, reviewed=reviewed)
    except (Superseded, PlanMoved):
        raise
    except InterlockError as error:
        endings.note(site.host.state, site.name, site.newest, site.refusal or error)
        looked.note(site.host.state, site.name)
        raise
    endings.forget(site.host.state, site.name)
    looked.note(site.host.state, site.name)
    return result


async def _reconciled(site: Site, *, upkeep: bool, reviewed: Reviewed | None) -> Outcome:
    seen = await not_overtaken(site, partial(_seen, site, upkeep=upkeep, reviewed=reviewed))
    decision, result = seen.decision, seen.result
    if result and open_intent(decision.tail):
        await _close_left_open(site, decision)
    try:
        result = result or await _by_writing(site, decision, at=seen.at, upkeep=upkeep, reviewed=reviewed)
    except UnderWay:
        if seen.refusal:
            raise seen.refusal from None
        raise
    await site.presenter.show(reports.outcome_report(result))
    if seen.refusal:
        raise seen.refusal
    return result


@dataclass(frozen=True)
class _Seen:
    """What a run makes of an environment without its lock."""

    decision: Decision
    at: str | None
    """The commit that is kept up, because the head was refused."""
    refusal: InterlockError | None
    result: Outcome | None
    """How it ends, when no object is to be written."""


async def not_overtaken(site: Site, look: Callable[[], Awaitable[T]]) -> T:
    """Once more from the start when another run, which may have had the lock, moved the environment on meanwhile."""
    for _ in range(LOOKS - 1):
        try:
            return await look()
        except Overtaken as error:
            site.presenter.say(f"{error.message}; deciding once more")
    return await look()


async def _seen(site: Site, *, upkeep: bool, reviewed: Reviewed | None) -> _Seen:
    refusal: InterlockError | None = None
    at: str | None = None
    site.refusal = None
    try:
        decision = await decide(site)
        await _require_agreement(site, decision)
    except (Refused, InputError, AwaitsApproval, ForgeError) as error:
        at = _verified(site) if isinstance(error, ForgeError) else await refuse(site, error)
        if not upkeep or at is None or isinstance(error, Untrusted):
            raise
        refusal, decision = error, await decide(site, at=at)
    await introduce(site, decision)
    decision = await prevention.tell_weakened(site, await tell_thawed(site, decision))
    if reviewed:
        require_same(reviewed, decision.plan)
    if decision.scope.again and decision.plan.drifted:
        decision = await tell_drift(site, decision)
    return _Seen(decision, at, refusal, await _without_writing(site, decision))


async def _close_left_open(site: Site, decision: Decision) -> None:
    """The intent of a run that was killed after its last write. Whoever has the lock closes its own."""
    with suppress(UnderWay):
        async with locked(site, decision, upkeep=True):
            if mark := record.read_mark(site.host.state, site.name):
                await close_interrupted(site, mark, decision.tail)


async def _without_writing(site: Site, decision: Decision, *, unwaited: bool = False) -> Outcome | None:
    """How it ends when no object is to be written; None when one is, or when health has to be waited for.

    With `unwaited`, which takes the lock, a commit that was waited for already is Unhealthy at once: without the lock
    another run may be waiting for it right now.
    """
    plan = decision.plan
    if decision.settled and decision.held_back and not (plan.stops or plan.over or plan.having(Action.PRUNE)):
        said = "drift observed" if decision.plan.drifted else "in sync"
        return _outcome(site, replace(decision, plan=replace(decision.plan, items=())), said)
    if not decision.plan.empty:
        return None
    await require_gone(site, decision, decision.stored)
    seen = await asyncio.to_thread(Observer(site.cluster, decision.patience).look, decision.rendered.manifests)
    if decision.settled:
        await (prevention.alone_may_run if seen.done else prevention.may_run)(site, decision)
        said = "removed" if decision.environment.removed else "in sync"
        return _outcome(site, decision, said, note="" if seen.done else seen.note)
    if unwaited and decision.known.pending == decision.commit and not seen.done:
        await site.presenter.show(reports.health_report(site.name, seen))
        raise wait.unhealthy(seen, when=f"still not healthy at {decision.commit[:12]}")
    if decision.stored.record is None or decision.known.pending or not seen.done:
        return None
    await prevention.alone_may_run(site, decision)
    await note_deployed(site, decision)
    return _outcome(site, decision, "in sync", note="the commit changes nothing here")


async def _by_writing(
    site: Site, decision: Decision, *, at: str | None, upkeep: bool, reviewed: Reviewed | None
) -> Outcome:
    # Judged under the lock only: without it, another run's objects may be seen that its inventory did not have yet.
    async with locked(site, decision, upkeep=upkeep) as lock:
        decision = await decided_again(site, decision, at=at)
        # Somebody may have denied it, or frozen the environment, while the lock was waited for.
        await require_free(site, decision.head, decision.rendered.manifests, deployed=decision.known.deployed)
        await _require_agreement(site, decision)
        if reviewed:
            require_same(reviewed, decision.plan)
        # Whoever had the lock before may have done it all.
        if done := await _without_writing(site, decision, unwaited=upkeep):
            return done
        if decision.settled and decision.held_back:
            decision = replace(decision, plan=decision.plan.leftovers)
        await show_lacking(site, decision.lacking)
        if not decision.scope.again or decision.plan.stops or decision.plan.over:
            await site.presenter.show(plan_report.report(decision.plan))
        try:
            advance = await _allowed(site, decision, upkeep=upkeep)
        except Blocked as held:
            await tell_held_back(site, decision, held)
            raise
        undone = decision.settled and any(item.drift for item in decision.plan.writes)
        said = "removed" if decision.environment.removed else "drift undone" if undone else "deployed"
        decision = await sync(replace(site, cluster=lock.writer), decision, lock, advance)
    return _outcome(site, decision, said)


async def _allowed(site: Site, decision: Decision, *, upkeep: bool) -> Advance:
    """What may begin; Blocked or Unhealthy, before anything is written, when nothing may."""
    require_within_budget(decision.plan)
    advance = await _begun(site, decision, upkeep=upkeep)
    if not advance.through and advance.possible().empty:
        raise advance.error(written=False)
    return advance


async def _begun(site: Site, decision: Decision, *, upkeep: bool) -> Advance:
    """What is stopped from the beginning.

    At a commit that was waited for already, an upkeep does not wait for what is needed again: it is healthy or not.
    """
    advance = begun(decision.plan, decision.environment)
    if not upkeep or decision.known.pending != decision.commit:
        return advance
    needed = advance.needed_as_they_are()
    wanted = [manifest for manifest in decision.rendered.manifests if manifest.application in needed]
    seen = await asyncio.to_thread(Observer(site.cluster, decision.patience).look, wanted)
    return advance.without(wait.failures(seen, when=f"still not healthy at {decision.commit[:12]}"))
