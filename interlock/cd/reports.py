"""What CD tells people: plan, drift, refusal, health and outcome, for Prefect's pages, a terminal, or as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from interlock.cd.causes import said
from interlock.cd.objects import subject
from interlock.cd.permissions import Lacking, missing_roles
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.cd.plan_report import NOTHING, made_by, place, urgency
from interlock.cd.progress import Progress, Seen
from interlock.cd.release_jobs import JobRun
from interlock.contract.models import TakeOver
from interlock.contract.report import Branch, Report, Table, cell, counted, cut
from interlock.contract.strict_yaml import dump
from interlock.errors import AwaitsApproval, InterlockError, Refused

_MOST_ROWS = 200
_MOST_LOGS = 5
_MOST_CHARACTERS = 60_000
_DONE = {"create": "created", "change": "changed", "prune": "pruned"}


@dataclass(frozen=True)
class Outcome:
    """How a deploy or resync ended. `seconds` is by step, in the order of the steps."""

    environment: str
    commit: str
    said: str
    """`deployed`, `in sync`, `drift undone` or `drift observed`."""
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def sentence(self) -> str:
        changes = ", ".join(f"{count} {_DONE.get(word, word)}" for word, count in self.counts.items() if count)
        took = f" in {sum(self.seconds.values()):.1f} s" if self.seconds else ""
        return f"{self.environment} {self.said} at {self.commit[:12]}{took}" + "".join(
            f"; {part}" for part in (changes, self.note) if part
        )


def _cut(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A page stays readable, and below Prefect's limit for an artifact."""
    return cut(rows, most=_MOST_ROWS, characters=_MOST_CHARACTERS)


def take_over_report(plan: Plan, entries: Iterable[TakeOver]) -> Report:
    """Which objects change hands, and who is forgotten as their manager. `data` is what `take_over` has to list."""
    rows = [(subject(i.identity), ", ".join(i.former) or NOTHING, i.uid) for i in plan.items]
    tables = (Table.of("Object", "Managers that are forgotten", "UID", rows=_cut(rows)),) if rows else ()
    title = f"{counted(len(rows), 'object')} of {plan.environment} to take over"
    return Report(
        "take-over", title, "", tables, data=[e.model_dump(mode="json", exclude_defaults=True) for e in entries]
    )


# drift -----------------------------------------------------------------------------------------------


def drift_report(plan: Plan, *, undo: bool, found_at: str) -> Report:
    """What no commit explains: object, field, both values, who, since when, and what is done about it.

    `found_at` is a UTC time: where the API server keeps no time, what is known is that it was so then.
    """
    rows = [
        row for item in sorted(plan.drifted, key=urgency) for row in _drift_rows(item, undo=undo, found_at=found_at)
    ]
    columns = ("Object", "Field", "In Git", "Live", "By", "Since", "Decision", "Made by")
    undone = sum(row[6] in {"undone", "removed"} for row in rows)
    found = sum(row[6] != "allowed" for row in rows)
    title = f"Drift in {plan.environment}: {found} found, {undone} undone, {found - undone} only reported"
    text = (
        f"Nothing at commit `{plan.commit[:12]}` explains these. With `drift: undo` in environment.yaml what Git "
        "declares is put back, and what nobody declared in such an object is removed. Foreign objects are only "
        "reported, finalizers and owners too.\n\n"
        "To keep a change, commit it; to remove what is foreign, delete it by hand."
    )
    fought = [item for item in plan.drifted if any(change.kind == "contested" for change in item.fields)]
    text += "".join(f"\n\n- {cell(subject(item.identity))}: {cell(item.reason)}" for item in fought)
    names = ("object", "field", "git", "live", "manager", "since", "decision", "made_by")
    data = [dict(zip(names, row, strict=True)) for row in rows]
    tree = tuple(_drift_tree(rows))
    return Report("drift", title, text, (Table.of(*columns, rows=_cut(rows)),), data=data, tree=tree)


def _drift_tree(rows: Iterable[tuple[str, ...]]) -> Iterator[Branch]:
    """An object, its fields below it, and below each of them who and where: a table of so many columns is too wide."""
    below: dict[str, list[Branch]] = {}
    for what, field_, git, live, by, since, decision, made in _cut(rows):
        told = tuple(Branch(line, tone="quiet") for line in (f"by {by}, since {since}", made) if line != NOTHING)
        tone = "good" if decision in {"undone", "removed"} else "odd"
        text = f"{field_}: {git} in Git, {live} in the cluster: {decision}"
        fields = below.setdefault(what, [])
        fields += [Branch(text, told, tone)] if field_ else []
    yield from (Branch(what, tuple(fields)) for what, fields in below.items())


def _drift_rows(item: PlanItem, *, undo: bool, found_at: str) -> list[tuple[str, ...]]:
    decided = "undone" if undo and item.drift else "observed"
    unknown = f"before {found_at}"
    what, here = subject(item.identity), place(item.origin) if item.origin else NOTHING
    if item.action == Action.FOREIGN and not item.fields:
        since = item.time or unknown
        return [(what, "whole object", NOTHING, "exists", item.manager or "unknown", since, "foreign", NOTHING)]
    if item.action == Action.CREATE:
        return [(what, "whole object", "exists", "deleted", "unknown", unknown, decided, here)]
    rows: list[tuple[str, ...]] = [
        (
            what,
            change.path,
            change.desired or NOTHING,
            change.live or NOTHING,
            change.manager or "unknown",
            change.time or unknown,
            change.kind if change.kind in {"foreign", "removed", "allowed", "contested"} else decided,
            made_by(change) or NOTHING,
        )
        for change in item.fields
        if change.kind != "change"
    ]
    if not rows and item.drift:
        rows = [(what, "ownership", "ours", item.reason, "unknown", unknown, decided, here)]
    return rows


# others ----------------------------------------------------------------------------------------------


def refusal_rule(error: InterlockError) -> str:
    """The word for why a commit was not begun."""
    if isinstance(error, Refused):
        return error.rule
    return "approvals" if isinstance(error, AwaitsApproval) else "format"


def refusal_report(environment: str, error: InterlockError, *, verified: str | None) -> Report:
    """Which commit was refused, by which rule, and what to do. The cluster stays at the verified head."""
    rule = refusal_rule(error)
    # What is written wrongly came by a commit that passed: another one on top of it is enough.
    usual = (
        "bring the branch back to the verified head" if isinstance(error, Refused) else "push a commit that mends it"
    )
    lines = [
        f"**Rule:** {cell(rule)}",
        f"**What was found:** {cell(error.message)}",
        f"**The cluster stays at:** `{verified[:12] if verified else 'nothing verified yet'}`",
        f"**What to do:** {cell(error.hint or usual)}",
    ]
    data = {"rule": rule, "message": error.message, "verified": verified, "hint": error.hint}
    word = "waits" if isinstance(error, AwaitsApproval) else "refused"
    return Report("refusal", f"{environment}: {word} ({rule})", "\n\n".join(lines), data=data)


def pull_requests_report(rows: Sequence[tuple[str, ...]]) -> Report:
    """Which open pull requests were planned, and what became of their comments."""
    table = Table.of("Pull request", "Commit", "Plan", "Comment", rows=_cut(rows))
    return Report("pull-requests", f"{counted(len(rows), 'pull request')} planned", tables=(table,))


def forge_report(error: InterlockError) -> Report:
    """The forge did not do what was asked of it."""
    hint = f"\n\n**What to do:** {cell(error.hint)}" if error.hint else ""
    return Report("forge", "The forge was not told", f"{cell(error.message)}{hint}")


def health_report(environment: str, progress: Progress) -> Report:
    """What is not healthy, and why."""
    rows = [_health_row(seen) for seen in (*progress.failed, *progress.missing)]
    table = Table.of("State", "Object", "Application", "Why", rows=_cut(rows))
    logs = [
        Table.of(f"Log of {cause.subject}", rows=[(line,) for line in cause.log])
        for seen in (*progress.failed, *progress.missing)
        for cause in seen.causes
        if cause.log
    ]
    title = f"{environment}: {progress.healthy} of {progress.total} objects are healthy"
    text = f"The cluster cannot be seen: {cell(progress.problem)}" if progress.problem else ""
    return Report("health", title, text, (table, *logs[:_MOST_LOGS]) if rows else (), data=health_data(progress))


def _health_row(seen: Seen) -> tuple[str, ...]:
    return seen.health.state.value, subject(seen.target.identity), seen.target.application or NOTHING, seen.line


def health_data(progress: Progress) -> object:
    """Health as JSON: counts, and each object that is not healthy."""
    return {
        "healthy": progress.healthy,
        "total": progress.total,
        "objects": [
            {
                **seen.target.identity._asdict(),
                "application": seen.target.application,
                "state": seen.health.state.value,
                "reason": said(seen.health.reason),
                "causes": [asdict(cause) for cause in seen.causes],
            }
            for seen in (*progress.failed, *progress.missing)
        ],
    }


def jobs_report(environment: str, runs: Sequence[JobRun]) -> Report:
    """What ran around releases, and the end of the log of what failed."""
    rows = [
        (
            subject(run.job.identity),
            run.job.application,
            run.job.when.value,
            run.ended.result.value,
            f"{run.seconds:.0f}",
        )
        for run in runs
    ]
    table = Table.of("Job", "Application", "Runs", "Ended", "Seconds", rows=_cut(rows))
    failed = [run for run in runs if run.ended.reason]
    logs = [Table.of(subject(run.job.identity), rows=[(line,) for line in run.log]) for run in failed if run.log]
    text = "\n".join(f"- {cell(run.line)}" for run in failed)
    data = [
        {
            "job": run.job.identity._asdict(),
            "application": run.job.application,
            "when": run.job.when.value,
            "result": run.ended.result.value,
            "reason": run.ended.reason,
            "seconds": round(run.seconds, 1),
            "log": list(run.log),
        }
        for run in runs
    ]
    title = f"{environment}: {counted(len(runs), 'Job')} ran around releases, {len(failed)} failed"
    return Report("jobs", title, text, (table, *logs[:_MOST_LOGS]), data=data)


def outcome_report(outcome: Outcome) -> Report:
    """The last word of a run."""
    rows: list[tuple[str, ...]] = [(step, f"{seconds:.1f}") for step, seconds in outcome.seconds.items()]
    return Report(
        "outcome", outcome.sentence, "", (Table.of("Step", "Seconds", rows=rows),) if rows else (), data=asdict(outcome)
    )


def permissions_report(environment: str, lacking: Lacking, control_namespace: str) -> Report:
    """Each right that is missing, which command gives it, and what else an administrator may apply for it."""
    roles = missing_roles(lacking, control_namespace)
    text = "---\n".join(dump(body) for body in roles)
    rows = tuple(
        (need.verb, f"{need.plural}.{need.group}".rstrip("."), need.namespace or f"({need.where})")
        for need in lacking.needs
    )
    command = bootstrap_command(environment, lacking.username, control_namespace)
    lines = [
        "An administrator of the cluster runs, in a clone of the environment repository that is at this commit:",
        "",
        f"    {command}",
        "",
        "or applies just what is missing:",
        "",
        *(f"    {line}" for line in text.splitlines()),
    ]
    return Report(
        "permissions",
        f"{environment}: {lacking.username} lacks {counted(len(rows), 'right')}",
        "\n".join(lines),
        (Table(("verb", "kind", "namespace"), rows),),
        data={
            "username": lacking.username,
            "command": command,
            "missing": [need.attributes for need in lacking.needs],
            "roles": list(roles),
        },
    )


def lock_report(environment: str, lines: Sequence[str]) -> Report:
    """What of the lock in the API server is not as it was written, and what writes it again."""
    return Report(
        "lock",
        f"{environment}: the lock in the API server is weakened: {lines[0]}",
        f"An administrator finds out who did that, and runs:\n\n    interlock bootstrap cluster {environment} --lock …",
        (Table.of("What is not as it was written", rows=[(line,) for line in lines]),),
        data=list(lines),
    )


def bootstrap_command(environment: str, username: str, control_namespace: str) -> str:
    """What gives CD its rights, to be run by an administrator."""
    account = username.startswith("system:serviceaccount:")
    user = "" if account else f" --user {shlex.quote(username)}"
    return f"interlock bootstrap cluster {environment} --kubeconfig ADMIN --control-namespace {control_namespace}{user}"
