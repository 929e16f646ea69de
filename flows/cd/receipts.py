"""What a run tells the ledger, and what it leaves where the ledger's writers cannot write: checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.cd.clock import require_clock
from interlock.cd import receipt_facts
from interlock.cd.receipts import INTERRUPTED, Entry, Kind, Statement
from interlock.cd.record import Mark
from interlock.contract.canonical import digest
from interlock.contract.verification import Verified
from interlock.errors import Blocked, ClusterError, GitError, PlanMoved, Refused
from tasks.cd import freezes, lease, ledger, record
from tasks.cd.record import Stored
from tasks.common import environment_repository, git
from tasks.common.squashes import Squashes

if TYPE_CHECKING:
    from flows.cd.walk import Decision, Site

HISTORY = 50
"""How many receipts are looked through for images that an environment had before."""


async def receipt(site: Site, mark: Mark, kind: Kind, **said: object) -> tuple[Mark, str]:
    """Add to the ledger, and remember on this host which receipt it must have. Gives the receipt's digest too."""
    statement = Statement.model_validate(
        {
            "kind": kind,
            "environment": site.name,
            "environment_id": mark.environment_id,
            "verified": mark.verified,
            "deployed": mark.deployed,
            "actor": site.actor,
            "run": lease.holder(),
            **said,
        }
    )
    await require_clock(site)
    written = await site.presenter.step(
        ledger.append, site.host.ledger, statement, state=site.host.state, key=site.host.signing.key
    )
    if written.queued:
        site.presenter.say(f"the ledger does not answer: receipt {written.number} is signed and waits on this host")
    after, mark = mark, replace(mark, receipts=written.number, receipt=written.digest)
    return record.write_mark(site.host.state, site.name, mark, after=after), written.digest


def facts(site: Site, decision: Decision, *, held_back: bool = False) -> Mapping[str, object]:
    """Who, what and which objects, for a receipt about the decision."""
    items = receipt_facts.told(decision.plan) if held_back else decision.plan.writes
    said = receipt_facts.facts(decision.environment, decision.commit, _signed(site, decision), items)
    return {**said, "approvals": receipt_facts.agreed(decision.question)}


def _signed(site: Site, decision: Decision) -> tuple[Verified, ...]:
    """The commits beyond what is deployed, which may lie behind the verified head: judged again from there.

    Where that is refused by now, because a key was taken out meanwhile, those that were judged in this run.
    """
    deployed, remote = decision.known.deployed, site.host.environment_repository
    if deployed is None or deployed in (decision.known.since, decision.commit):
        return decision.head.new_commits
    with suppress(Refused):
        mirror, vouch = git.mirror_path(site.host.state, remote.name), Squashes(remote, site.host.state).vouch
        return environment_repository.verify(mirror, remote.root, decision.commit, since=deployed, vouch=vouch)
    return decision.head.new_commits


async def tell_held_back(site: Site, decision: Decision, held: Blocked) -> None:
    """A plan that differs and was not begun, told to the ledger once."""
    if isinstance(held, PlanMoved):
        return
    mark = record.read_mark(site.host.state, site.name)
    if mark is None and decision.stored.record is not None:
        return  # a new mark that has not what the record has would contradict it
    mark = mark or decision.mark
    name = digest(f"{decision.plan.digest}\n{held.message}".encode())
    if mark.held == name:
        return
    said = facts(site, decision, held_back=True)
    counts = {action.value: len(decision.plan.having(action)) for action in {i.action for i in decision.plan.stops}}
    outcome = "over-budget" if decision.plan.over else "blocked"
    mark, _ = await receipt(
        site,
        mark,
        "plan",
        plan=decision.plan.digest,
        counts=counts,
        outcome=outcome,
        note=held.message[:2000],
        **said,
    )
    record.write_mark(site.host.state, site.name, replace(mark, held=name), after=mark)


async def tell_planned(site: Site, decision: Decision) -> None:
    """A plan that differs and that somebody looked at, once. A look is shown all the same when the ledger is away."""
    plan = decision.plan
    if plan.empty or decision.mark.planned == plan.digest or decision.known.since is None:
        return
    counts = {action.value: len(plan.having(action)) for action in {item.action for item in plan.writes}}
    said = facts(site, decision)
    try:
        mark, _ = await receipt(
            site, decision.mark, "plan", plan=plan.digest, counts=counts, outcome="looked-at", **said
        )
    except GitError as error:
        site.presenter.say(f"the ledger was not told of this plan: {error.message}")
    else:
        remembering(site, decision, mark, planned=plan.digest)


async def tell_thawed(site: Site, decision: Decision) -> Decision:
    """That an environment is no longer frozen, once, where the ledger was told that it was."""
    if not decision.mark.frozen or freezes.read(site.host.state, site.name):
        return decision
    mark, _ = await receipt(site, decision.mark, "hold", outcome="lifted", note="every cause of the freeze is gone")
    return remembering(site, decision, mark, frozen=False, refused=None)


async def tell_lock(site: Site, decision: Decision, lines: Sequence[str]) -> Decision:
    """What is gone from the lock in the API server, once for the same; and that all is there again."""
    name = digest("\n".join(lines).encode()) if lines else None
    if decision.mark.weakened == name or decision.known.since is None:
        return decision
    outcome = "lock-weakened" if lines else "lock-restored"
    mark, _ = await receipt(site, decision.mark, "drift", outcome=outcome, about="; ".join(lines)[:2000])
    return remembering(site, decision, mark, weakened=name)


def remembering(site: Site, decision: Decision, mark: Mark, **told: Any) -> Decision:
    """Note on this host what the ledger was told, so that it is told once."""
    after = record.write_mark(site.host.state, site.name, replace(mark, **told), after=mark)
    return replace(decision, mark=after)


async def tell_rollback(site: Site, decision: Decision, mark: Mark, said: Mapping[str, object]) -> Mark:
    """A release that goes back to an image which the environment had before is told as what it is."""
    now = receipt_facts.releases(decision.environment)
    if not now or decision.settled:
        return mark
    history = await site.presenter.step(
        ledger.tail, site.host.ledger, site.name, state=site.host.state, keys=ledger.keys_of(site.host), most=HISTORY
    )
    if back := receipt_facts.rolled_back(now, history):
        told = {name: said[name] for name in ("plan", "commit", "commits")}
        mark, _ = await receipt(site, mark, "rollback", about=", ".join(back)[:2000], **told)
    return mark


async def tell_approvals(site: Site, mark: Mark, said: Mapping[str, object]) -> Mark:
    """The approvals that a sync rests on, told before its intent."""
    if said["approvals"]:
        told = {name: said[name] for name in ("plan", "commit", "approvals")}
        mark, _ = await receipt(site, mark, "approval", **told)
    return mark


async def close_interrupted(site: Site, mark: Mark, tail: tuple[Entry, ...]) -> Mark:
    """Under the lock: an intent that is open still is one whose run was killed. `tail` was read before the lock."""
    if receipt_facts.open_intent(tail) is None:
        return mark
    tail = await site.presenter.step(
        ledger.tail, site.host.ledger, site.name, state=site.host.state, keys=ledger.keys_of(site.host)
    )
    intent = receipt_facts.open_intent(tail)
    if intent is None:
        return mark
    said = intent.statement
    note = f"its run ({said.run}) ended without a result; this one found the environment and goes on"
    fields = {"plan": said.plan, "counts": said.counts, "commit": said.commit, "intent": intent.digest}
    mark, _ = await receipt(site, mark, "result", outcome=INTERRUPTED, note=note, **fields)
    return mark


async def checkpoint(site: Site, stored: Stored, mark: Mark) -> Stored:
    """The newest receipt, remembered in the cluster's record too. A record that moved on has a newer one."""
    if stored.record is None or stored.record.receipt == mark.receipt:
        return stored
    now = replace(stored.record, receipts=mark.receipts, receipt=mark.receipt)
    with suppress(ClusterError):
        return await site.presenter.step(record.write_record, site.cluster, stored, now)
    return stored
