"""`interlock trust`: who may sign, and what the rules of the environment repository say of its commits."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import output, trust_keys
from interlock.cli.operate import Clone
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table
from interlock.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.contract.verification import Check

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who may sign, and which commits are accepted.")
EXAMPLES = """\b
Exit code 0: every rule passes; 3: one does not. docs/trust.md is the table of the rules.
\b
Examples:
  interlock trust explain                       # the newest commit here, before it is pushed
  interlock trust explain 1a2b3c4 --repository environments --output json
"""
_WORDS = {True: "passes", False: "REFUSED", None: "unknown"}


@app.callback()
def trust() -> None:
    """Who may sign, and which commits are accepted.

    What these commands commit is signed with git's own settings and judged as hosts will judge it; nothing is pushed.
    """


app.command("init", epilog=trust_keys.INIT)(trust_keys.init)
app.command("add", epilog=trust_keys.ADD)(trust_keys.add)
app.command("rotate", epilog=trust_keys.ROTATE)(trust_keys.rotate)
app.command("recover", epilog=trust_keys.RECOVER)(trust_keys.recover)


@app.command("explain", epilog=EXAMPLES)
def explain(
    commit: Annotated[str, typer.Argument(metavar="[COMMIT]", help="Any name that git has for it.")] = "HEAD",
    repository: Clone = Path(),
    *,
    form: Output = Format.TABLE,
) -> None:
    """Say for each rule why hosts would accept a commit or not, judged by its parent's signers and bindings.

    Commits before it are taken as accepted: a host judges every one since the head that it verified last.
    """
    from interlock.cli import clone
    from interlock.contract import verification
    from interlock.contract.verification import Point

    found = clone.judged(repository, commit)
    trust = verification.trust_of(found.parent.files, commit=found.parent.commit)
    newest = found.now.commit == found.raw.id
    now = None if newest else verification.trust_of(found.now.files, commit=found.now.commit)
    point = Point(found.parent.commit, found.tree, trust)
    before = clone.descending(repository, found.raw.id, [each.believed_to for each in now.ended]) if now else ()
    today = dt.datetime.now(dt.UTC).date()
    checks = verification.explain(found.raw, point, blobs=found.blobs.get, today=today, now=now, before=before)
    output.show(_report(found.raw.id, checks), form)
    refused = [each for each in checks if each.passes is False]
    if refused:
        raise Refused(f"{found.raw.id[:12]} would be refused: {refused[0].said}", rule=refused[0].rule)


def _report(commit: str, checks: Sequence[Check]) -> Report:
    passed = all(each.passes for each in checks)
    rows: list[tuple[str, ...]] = [(each.rule, _WORDS[each.passes], each.said) for each in checks]
    return Report(
        "trust",
        f"{commit[:12]}: {'accepted' if passed else 'refused'}",
        "",
        (Table.of("rule", "verdict", "why", rows=rows),),
        data={"commit": commit, "accepted": passed, "checks": [asdict(each) for each in checks]},
    )
