"""Whether what commits in a clone would change can still be agreed to, by those who have to."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from interlock.cli import clone
from interlock.cli.cloned import Cloned


def stuck(folder: Path, *, since: str, head: str) -> tuple[str, ...]:
    """The environments that would wait for ever, if `since` is what is deployed there."""
    from interlock.contract import approvals
    from interlock.contract.repository import read_approvals

    with clone.opened(folder) as repository, Cloned(repository, "", "").history(head) as history:
        asking = sorted({name for each in (since, head) for name in read_approvals(history.tree(each))})
        now = dt.datetime.now(dt.UTC)
        found = {
            name: approvals.question(history, approvals.Asked("", "", name, "", now), deployed=since, commit=head)
            for name in asking
        }
    return tuple(name for name, question in found.items() if question and question.stuck)
