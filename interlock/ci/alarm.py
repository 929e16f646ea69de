"""The issue of a component that is released and not clean any more: when there is one, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from interlock.ci.forge import MAX_TEXT, Issue
from interlock.ci.rescan import Rescanned
from interlock.contract.canonical import canonical, digest
from interlock.contract.finding import Finding
from interlock.contract.forge import shortened
from interlock.contract.report import Table, cell, cut

_MARK = re.compile(r"<!-- interlock-rescan: (\S+) (\S+) -->")
_CLEAN = "clean"
_LISTED, _CHARACTERS = 100, 30_000


@dataclass(frozen=True)
class Alarm:
    """What a rescan says of one component of an application, in all of its environments."""

    name: str
    """Such as shop/web."""
    found: str
    """A digest of what blocks where; `clean` when nothing does."""
    title: str
    body: str

    @property
    def clean(self) -> bool:
        return self.found == _CLEAN


def alarms(rescanned: Iterable[Rescanned]) -> tuple[Alarm, ...]:
    """One for each component of which something is known: what nobody could judge neither raises nor ends one."""
    by_name: dict[str, list[Rescanned]] = {}
    for each in rescanned:
        by_name.setdefault(f"{each.target.application}/{each.target.component}", []).append(each)
    return tuple(
        _alarm(name, found)
        for name, found in sorted(by_name.items())
        if any(not each.verdict.passed and not each.trouble for each in found) or all(each.clean for each in found)
    )


def _alarm(name: str, found: Sequence[Rescanned]) -> Alarm:
    dirty = [each for each in found if not each.verdict.passed and not each.trouble]
    if not dirty:
        body = f"{_mark(name, _CLEAN)}\nEvery release of {name} is clean again."
        return Alarm(name, _CLEAN, f"{name} is clean again", body)
    where = ", ".join(each.target.environment for each in dirty)
    what = digest(canonical([[each.name, *each.verdict.reasons] for each in dirty]))
    return Alarm(name, what, f"{name} is no longer clean in {where}", _body(name, what, dirty))


def _mark(name: str, found: str) -> str:
    return f"<!-- interlock-rescan: {name} {found} -->"


def _body(name: str, what: str, dirty: Sequence[Rescanned]) -> str:
    images = dict.fromkeys(each.target.released.image for each in dirty if each.target.released)
    rows = dict.fromkeys(
        (*_cells(hit.finding), each.target.environment) for each in dirty for hit in each.verdict.blocking
    )
    findings = Table.of(
        *("finding", "severity", "package", "fixed in", "where", "environment"),
        rows=cut(rows, most=_LISTED, characters=_CHARACTERS),
    )
    reasons = dict.fromkeys(reason for each in dirty for reason in each.verdict.reasons)
    told = findings.markdown if rows else "\n".join(f"- {cell(reason)}" for reason in reasons)
    return shortened(
        "\n\n".join(
            (
                f"{_mark(name, what)}\nWhat is released of {name} would not pass the gate today.",
                "\n".join(f"- image: `{each}`" for each in images),
                told,
                _TO_DO,
            )
        ),
        MAX_TEXT,
    )


_TO_DO = """\
To do: release a version with the package raised; what must stay for a while gets a waiver in `policy/waivers.yaml`.
Nothing was taken out of a cluster.
The rescan keeps this text up, and closes the issue once all is clean.
Who closes it before is not asked again until something else is found."""


def _cells(finding: Finding) -> tuple[str, ...]:
    package = f"{finding.package} {finding.installed}".strip()
    return finding.id, finding.severity, package, finding.fixed or "no fix", finding.place


# what to do ------------------------------------------------------------------------------------------

Step = Literal["open", "edit", "close", "leave"]


def step(issues: Sequence[Issue], alarm: Alarm) -> tuple[Step, Issue | None]:
    """What has to be done about an alarm, and to which issue; `issues` are all of the repository, newest first."""
    own = [(each, mark) for each in issues if (mark := _MARK.match(each.body)) and mark[1] == alarm.name]
    there = next((each for each, _ in own if each.open), None)
    if alarm.clean:
        return ("close", there) if there else ("leave", None)
    if there:
        return ("leave" if (there.title, there.body) == (alarm.title, alarm.body) else "edit"), there
    if own and own[0][1][2] == alarm.found:
        return "leave", own[0][0]  # people closed it, and nothing else was found since
    return "open", None
