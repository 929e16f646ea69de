"""What a host lacks, one line a check: it is well, or what is wrong and what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from interlock.contract.report import Report, Table, cell, counted
from interlock.errors import InterlockError


@dataclass(frozen=True)
class Check:
    name: str
    well: bool
    said: str
    fix: str = ""


def checked(name: str, look: Callable[[], str]) -> Check:
    """`look` says what is well, or raises what is not; the error's hint is the fix."""
    try:
        return Check(name, True, look())
    except InterlockError as error:
        first = error.message.splitlines()[0]
        return Check(name, False, first, error.hint or "see the message; docs/hosts.md has how it is set up")


def report(host: str, found: Sequence[Check]) -> Report:
    """The fixes first, in the order in which they are to be done, then every check."""
    wrong = [each for each in found if not each.well]
    verdict = (
        f"{len(wrong)} of {counted(len(found), 'check')} failed" if wrong else f"{counted(len(found), 'check')} passed"
    )
    fixes = "\n".join(f"- {cell(each.name)}: {cell(each.fix)}" for each in wrong)
    rows: list[tuple[str, ...]] = [(each.name, "ok" if each.well else "WRONG", each.said) for each in found]
    data = {"host": host, "well": not wrong, "checks": [asdict(each) for each in found]}
    return Report("doctor", f"{host}: {verdict}", fixes, (Table.of("check", "state", "what", rows=rows),), data)
