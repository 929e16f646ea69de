"""Whether a ledger is whole: every change, gap, reorder, fork and cut, and where it is. Pure.

The chain of an environment shows what was done within it. Its end shows nothing by itself: a *checkpoint*, kept where
whoever writes the ledger cannot write, says which receipt there has been at least.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from interlock.cd import receipts
from interlock.cd.receipts import Entry
from interlock.contract import signature
from interlock.contract.report import Report, Table, counted
from interlock.errors import Refused

Fault = Literal["changed", "missing", "doubled", "reordered", "truncated", "forked", "forged", "unreadable"]


@dataclass(frozen=True)
class Problem:
    """What is wrong and where: a receipt's path, a commit of the ledger, or the end of an environment's chain."""

    fault: Fault
    where: str
    what: str
    environment: str = ""
    number: int = 0
    """The receipt's place in its chain, as far as it can be told."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Checkpoint:
    """What somebody beside the ledger remembers: that an environment had so many receipts, and the last one's digest.

    An empty digest says nothing: older versions kept only the number.
    """

    environment: str
    number: int
    digest: str
    keeper: str
    """Who remembers it: `the mark on this host`."""


@dataclass(frozen=True)
class Checked:
    """What came out for a whole ledger."""

    environments: Mapping[str, int]
    """How many receipts each has."""
    problems: tuple[Problem, ...]
    checkpoints: tuple[Checkpoint, ...] = ()
    open: tuple[str, ...] = ()
    """Paths of intents without a result: a sync that is under way, or was killed."""
    waiting: int = 0
    """Receipts that wait on this host."""
    unread: tuple[str, ...] = ()
    """Checkpoints that could not be read, and why."""

    @property
    def whole(self) -> bool:
        return not self.problems


def check_chain(entries: Sequence[Entry], keys: Iterable[str]) -> tuple[Problem, ...]:
    """What is wrong with one environment's receipts; nothing when the chain is whole.

    `keys` are the one-line public keys that CD signs, or signed, with.
    """
    owners = {signature.key_blob(key): key for key in keys}
    problems: list[Problem] = []
    previous: Entry | None = None
    for entry in sorted(entries, key=lambda each: (each.number, each.path)):
        problems += _problems(entry, previous, owners)
        previous = entry
    return tuple(problems)


def check_part(entries: Sequence[Entry], keys: Iterable[str]) -> tuple[Problem, ...]:
    """The same for receipts that follow each other, of which the first is not the environment's first."""
    owners = {signature.key_blob(key): key for key in keys}
    return tuple(
        problem
        for entry, previous in zip(entries, (None, *entries), strict=False)
        for problem in _problems(entry, previous, owners, first=previous is None)
    )


def _problems(
    entry: Entry, previous: Entry | None, owners: Mapping[bytes, str], *, first: bool = False
) -> Iterator[Problem]:
    """`first` is one whose place in the chain nobody asks for."""

    def problem(fault: Fault, what: str) -> Problem:
        return Problem(fault, entry.path, what, entry.statement.environment, entry.number)

    receipt = entry.receipt
    expected = previous.number + 1 if previous else 1
    if first:
        pass
    elif receipt.number < expected:
        yield problem("doubled", f"there is another receipt {receipt.number}: the chain was forked")
    elif receipt.number > expected:
        missing = _span(expected, receipt.number - 1)
        yield problem("missing", f"it is number {receipt.number} where {expected} was due: {missing} missing")
    elif receipt.previous != (previous.digest if previous else None):
        before = f"receipt {previous.number}" if previous else "nothing"
        yield problem("changed", f"it does not follow {before}, which is before it: one of the two was changed")
    if previous and receipt.time < previous.receipt.time:
        yield problem("reordered", f"its time {receipt.time} is before {previous.receipt.time} of the one before it")
    if entry.path != (own := receipts.path_of(receipt)):
        yield problem("reordered", f"it was moved: by its content its path is {own}")
    try:
        signature.verify(entry.signature, entry.signed, owners, namespace=receipts.NAMESPACE)
    except Refused as refusal:
        foreign = refusal.rule == "unknown-key"
        yield problem("forged" if foreign else "changed", refusal.message)


def _span(first: int, last: int) -> str:
    return f"receipt {first} is" if first == last else f"receipts {first} to {last} are"


def check_end(entries: Sequence[Entry], checkpoint: Checkpoint) -> tuple[Problem, ...]:
    """Whether the chain still has what a checkpoint remembers."""
    last = max((entry.number for entry in entries), default=0)
    where = f"{receipts.folder(checkpoint.environment)}, after receipt {last}"
    if last < checkpoint.number:
        missing = _span(last + 1, checkpoint.number)
        what = f"{missing} missing at the end: {checkpoint.keeper} has seen receipt {checkpoint.number}"
        return (Problem("truncated", where, what, checkpoint.environment, last + 1),)
    at = next((entry for entry in entries if entry.number == checkpoint.number), None)
    if at is None or not checkpoint.digest or at.digest == checkpoint.digest:
        return ()
    what = f"it is not the receipt {at.number} that {checkpoint.keeper} has seen: the chain was replaced from there on"
    return (Problem("forked", at.path, what, checkpoint.environment, at.number),)


def check_order(added: Iterable[tuple[str, str]]) -> tuple[Problem, ...]:
    """Whether receipts came into the ledger in the order of their numbers. `added`: (commit, path), oldest first."""
    newest: dict[str, int] = defaultdict(int)
    problems: list[Problem] = []
    for commit, path in added:
        folder, number = path.rpartition("/")[0], receipts.number_of(path)
        if number <= newest[folder]:
            what = f"it adds {path} after receipt {newest[folder]}"
            environment = folder.rpartition("/")[2]
            problems.append(Problem("reordered", f"commit {commit[:12]}", what, environment, number))
        newest[folder] = max(newest[folder], number)
    return tuple(problems)


def report(checked: Checked) -> Report:
    """For a terminal, and with `--output json` for a program."""
    count = counted(sum(checked.environments.values()), "receipt")
    spaces = counted(len(checked.environments), "environment")
    verdict = "whole" if checked.whole else counted(len(checked.problems), "problem")
    kept = {
        name: ", ".join(f"{each.keeper}: {each.number}" for each in checked.checkpoints if each.environment == name)
        for name in checked.environments
    }
    rows: list[tuple[str, ...]] = [
        (name, str(number), kept[name] or "none") for name, number in checked.environments.items()
    ]
    tables = [Table.of("environment", "receipts", "checkpoints", rows=rows)] if rows else []
    if checked.problems:
        found: list[tuple[str, ...]] = [(each.fault, each.where, each.what) for each in checked.problems]
        tables.append(Table.of("problem", "where", "what", rows=found))
    notes = [f"open: {path} has no result: its sync is under way, or was killed" for path in checked.open]
    notes += [f"waiting: {counted(checked.waiting, 'receipt')} on this host could not be pushed"] * bool(
        checked.waiting
    )
    notes += [f"not compared: {each}" for each in checked.unread]
    data = {
        "whole": checked.whole,
        "environments": dict(checked.environments),
        "problems": [asdict(each) for each in checked.problems],
        "checkpoints": [asdict(each) for each in checked.checkpoints],
        "open": list(checked.open),
        "waiting": checked.waiting,
        "unread": list(checked.unread),
    }
    title = f"ledger: {verdict}; {count} in {spaces}"
    return Report("ledger", title, "\n".join(f"- {note}" for note in notes), tuple(tables), data)
