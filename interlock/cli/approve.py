"""`interlock approve`, `approvals`: agree to what an environment becomes; what waits for whom."""

from __future__ import annotations

import datetime as dt
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import halves, names, output
from interlock.cli.application import Yes
from interlock.cli.operate import Clone, Name
from interlock.cli.output import Format, Output
from interlock.errors import Blocked, InputError, ParameterError, PushRejected

if TYPE_CHECKING:
    from interlock.cli.cloned import Cloned, PersonsKey
    from interlock.contract.approvals import Approval, Asked, Question
    from interlock.contract.repository import Environment, Repository
    from tasks.common.mirrored import Mirrored

APPROVE_EXAMPLES = """\b
In a clone of the environment repository, as one of the approvers in trust/signers.yaml.
\b
Examples:
  interlock approve prod                          # shows what changes, asks, signs, pushes
  interlock approve prod --deployed 1a2b3c4d…     # as the page of the run says that waits
  interlock approve prod --hours 4 --yes
"""
APPROVALS_EXAMPLES = """\b
On a CD host: what CD waits for. With --repository, or elsewhere: what the commits say, not verified.
\b
Examples:
  interlock approvals                             # all environments that ask for approvals
  interlock approvals prod --output json
"""
_ATTEMPTS = 4
_NOTHING = "nothing"

Deployed = Annotated[
    str | None,
    typer.Option(
        "--deployed", metavar="COMMIT", help="What is deployed now, or `nothing`; otherwise as the commits tell."
    ),
]

Root = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="COMMIT", help="The root pin of CD's host, where people or keys changed since what counts."
    ),
]


def approve(
    environment: Name,
    *,
    commit: Annotated[
        str | None, typer.Option(help="The commit that was looked at; otherwise the newest of the server's branch.")
    ] = None,
    deployed: Deployed = None,
    root: Root = None,
    hours: Annotated[
        int | None, typer.Option(min=1, help="How long it lasts; otherwise as long as the rule allows.")
    ] = None,
    repository: Clone = Path(),
    key: Annotated[Path | None, typer.Option(help="Your SSH key; otherwise the one that git signs with.")] = None,
    yes: Yes = False,
    form: Output = Format.TABLE,
) -> None:
    """Show what an environment would become, ask, and say in your name that it may.

    The approval is signed with your SSH key and pushed as one commit upon the newest one, without touching your working
    copy. It is of just this state: whatever the environment reads, changed afterwards, needs another one.
    """
    from interlock.cli import cloned

    with cloned.opened(repository) as opened:
        mine = cloned.persons_key(opened, key)
        head = opened.fetched()
        meant = opened.resolve(commit) if commit else head
        with opened.history(head) as history:
            found = _question(history, opened, environment, commit=head, deployed=deployed, root=root)
            if found is None or found.answered:
                output.note(f"{environment} at {head[:12]}: {'nothing waits' if found is None else 'approved already'}")
                return
            _require_same(history, environment, meant, head)
            name = _approver(history, mine, found)
            _show(history, found, form)
            if not yes:
                _confirm(environment, meant)
            lasts = _lasts(history, found, hours, opened.resolve(root) if root else None)
            approval = _statement(history, opened, found, name, lasts)
        _push(opened, mine, approval, environment, form)


def _push(opened: Cloned, mine: PersonsKey, approval: Approval, environment: str, form: Format) -> None:
    from interlock.cli import cloned
    from interlock.contract import approvals, layout

    armored = mine.sign(approvals.statement(approval), namespace=approvals.NAMESPACE)
    path = layout.approval(environment, approval.approver, approval.reads, approval.base)
    message = f"Approve {environment} until {approval.ends}"
    for attempt in range(_ATTEMPTS):
        parent = opened.fetched()
        try:
            made = cloned.push(opened, parent, {path: approvals.write(approval, armored)}, message=message, key=mine)
            break
        except PushRejected:
            # Somebody else was quicker, perhaps with an approval too. If they changed what this one is about, it does
            # not count: it binds the state and not the commit.
            if attempt == _ATTEMPTS - 1:
                raise
    if form is Format.JSON:
        output.show_json({"commit": made, "path": path, **approval.model_dump(mode="json")})
    else:
        typer.echo(f"pushed {made[:12]}: {message}")
    output.note("the next deploy counts it; what is missing still: interlock approvals")


def _statement(history: Mirrored, opened: Cloned, found: Question, name: str, lasts: dt.timedelta) -> Approval:
    from interlock.contract import approvals

    read = _read(history, found.commit)
    now = dt.datetime.now(dt.UTC)
    return approvals.Approval(
        format=1,
        repository=read.id,
        branch=opened.branch,
        environment=read.environments[found.environment].id,
        base=found.base,
        reads=found.reads,
        approver=name,
        given=approvals.spelt(now),
        ends=approvals.spelt(now + lasts),
    )


def _lasts(history: Mirrored, found: Question, hours: int | None, root: str | None) -> dt.timedelta:
    """As asked for, and no longer than both rules allow."""
    most = _most_hours(history, found, root)
    if hours and hours > most:
        raise ParameterError(f"--hours {hours}: approvals of {found.environment} last {most} hours at most")
    return dt.timedelta(hours=hours or most)


def _most_hours(history: Mirrored, found: Question, root: str | None) -> int:
    from interlock.contract import approvals

    rules = approvals.rules_that_hold(history, found.environment, deployed=found.base, commit=found.commit, root=root)
    return min(rule.asks.hours for rule in rules)


def _approver(history: Mirrored, mine: PersonsKey, found: Question) -> str:
    """Who the key's owner is; an error when their approval would not count."""
    from interlock.contract import approvals, layout, signature

    blob = signature.key_blob(mine.public)
    name = approvals.keys_of(history.tree(found.commit)).get(blob)
    who = f"those who may: {', '.join(found.may) or 'nobody'}"
    if name is None:
        message = f"your key {signature.fingerprint(blob)} is nobody's in {layout.SIGNERS}"
        raise InputError(message, hint=f"sign with another one (--key); {who}")
    if name not in found.may:
        made = (
            "you have changed it yourself"
            if name in found.authors
            else "you are not among its approvers, or have approved"
        )
        raise Blocked(f"{name}: your approval of {found.environment} would not count: {made}", hint=who)
    return name


def _require_same(history: Mirrored, environment: str, meant: str, head: str) -> None:
    from interlock.contract import effects

    if meant != head and effects.reads(history.tree(meant), environment) != effects.reads(
        history.tree(head), environment
    ):
        raise Blocked(
            f"{environment}: what it reads has changed since {meant[:12]}: the newest commit is {head[:12]}",
            hint="look at the newest one: leave --commit out",
        )


def _confirm(environment: str, commit: str) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"nobody to ask whether {environment} may become {commit[:12]}", hint="--yes does not ask")
    if not typer.confirm(f"May {environment} become this?", default=False, err=True):
        raise typer.Exit(130)


# what it is about ------------------------------------------------------------------------------------


def _show(history: Mirrored, found: Question, form: Format) -> None:
    from interlock.cd import agreement
    from interlock.cli import approve_difference

    if form is Format.JSON:
        return
    output.show(agreement.report(found), form)
    typer.echo(output.plain(approve_difference.shown(history, found)))


def _read(history: Mirrored, commit: str) -> Repository:
    from interlock.contract import repository
    from tasks.common import git

    return repository.read(git.read_tree(history.mirror, commit))


def _question(
    history: Mirrored, opened: Cloned, environment: str, *, commit: str, deployed: str | None, root: str | None
) -> Question | None:
    from interlock.contract import approvals

    read = _read(history, commit)
    if environment not in read.environments:
        known = ", ".join(read.environments)
        raise ParameterError(f"environment {environment}: there is none of that name", hint=f"there are: {known}")
    asked = replace(
        _asked(read, read.environments[environment], opened.branch), root=opened.resolve(root) if root else None
    )
    base = _base(history, opened, environment, commit=commit, deployed=deployed)
    return approvals.question(history, asked, deployed=base, commit=commit)


def _asked(read: Repository, environment: Environment, branch: str) -> Asked:
    from interlock.contract.approvals import Asked

    return Asked(read.id, branch, environment.name, environment.id, dt.datetime.now(dt.UTC))


def _base(history: Mirrored, opened: Cloned, environment: str, *, commit: str, deployed: str | None) -> str | None:
    from interlock.contract import approvals

    if deployed == _NOTHING:
        return None
    if deployed is not None:
        found = opened.resolve(deployed)
        if not history.descends(found, commit):
            raise ParameterError(f"--deployed {deployed}: no commit of the branch {opened.branch}")
        return found
    presumed = approvals.presumed(history, environment, commit=commit)
    told = presumed[:12] if presumed else _NOTHING
    output.note(f"{environment}: taken as deployed: {told}, as the commits tell; --deployed names another")
    return presumed


# what waits ------------------------------------------------------------------------------------------


def approvals(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", callback=names.name)] = None,
    *,
    deployed: Deployed = None,
    root: Root = None,
    repository: Annotated[
        Path | None, typer.Option("--repository", help="A clone of the environment repository.", file_okay=False)
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Show what waits for approvals: who may give them, what was given, and what has ended."""
    from interlock.cd import agreement

    if repository is None and os.environ.get("INTERLOCK_CONFIG"):
        from interlock.cli.terminal import run

        with halves.needs("cd"):
            from interlock.cli.cd_approvals import approvals_order

        waiting = bool(run(lambda telling: approvals_order(telling, environment), form))
    else:
        found = _of_clone(repository or Path(), environment, deployed, root)
        waiting = bool(found)
        if form is Format.JSON:
            output.show_json([{"report": "approvals", "data": agreement.data(each)} for each in found])
        else:
            for each in found:
                output.show(agreement.report(each), form)
    if not waiting:
        output.note("nothing waits for approvals")


def _of_clone(folder: Path, environment: str | None, deployed: str | None, root: str | None) -> list[Question]:
    from interlock.cli import cloned

    with cloned.opened(folder) as opened:
        head = opened.fetched()
        with opened.history(head) as history:
            asking = [environment] if environment else list(_read(history, head).approvals)
            found = (_question(history, opened, each, commit=head, deployed=deployed, root=root) for each in asking)
            return [each for each in found if each]
