"""Health rules of several commits: what a commit changes is judged by the rules of those that it follows too.

So no commit loosens the rule by which its own changes count as healthy. What it leaves as it was is judged by its own
rules alone: a wrong rule can be mended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.cd.objects import identify
from interlock.contract.health import HealthRules, Judge, Judges, Verdict
from interlock.contract.manifest import Identity

_BEST_FIRST = ("healthy", "progressing", "unknown", "failed")
Kind = tuple[str, str]


@dataclass(frozen=True)
class Strict:
    """The newest commit's judges, and those of older commits for the objects that it changes."""

    newest: Judges
    older: tuple[Judges, ...]
    changed: Collection[Identity]

    def of(self, group: str, kind: str) -> Judge | None:
        own = self.newest.of(group, kind)
        older = tuple(judge for each in self.older if (judge := each.of(group, kind)))
        return StrictJudge(own, older, self.changed) if older else own


@dataclass(frozen=True)
class StrictJudge:
    """`own` is None where the newest commit has no rule of the kind any more."""

    own: Judge | None
    older: tuple[Judge, ...]
    changed: Collection[Identity]

    def judge(self, body: Mapping[str, Any]) -> Verdict | None:
        """The worst of the verdicts; None when no rule is about the object."""
        own = self.own.judge(body) if self.own else None
        if identify(dict(body)) not in self.changed:
            return own
        older = [verdict for each in self.older if (verdict := each.judge(body))]
        verdicts = [*([own] if own else []), *(_older(each) for each in older)]
        return max(verdicts, key=lambda each: _BEST_FIRST.index(each.state), default=None)


def _older(verdict: Verdict) -> Verdict:
    return Verdict(verdict.state, f"{verdict.reason} ({_WHY})") if verdict.state != "healthy" else verdict


_WHY = "by the health rule before this commit, which still judges what the commit changes"


def differing(older: Iterable[HealthRules], newest: HealthRules, kinds: Collection[Kind]) -> tuple[HealthRules, ...]:
    """Those that have another rule for one of these kinds than the newest; one that had none loses no say."""
    return tuple(
        rules for rules in older if any((rule := rules.of(*kind)) and rule != newest.of(*kind) for kind in kinds)
    )
