"""How a forge has to guard a branch, and where it does less. Pure: who asks a forge is `tasks.common.protection`.

policy/protection.yaml of the environment repository says what is wanted, and which weakenings are accepted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from interlock.contract import layout, strict_yaml
from interlock.contract.forge import ForgeKind
from interlock.contract.host import Branch
from interlock.contract.models import Day, File, Model, Reason, RepositoryName
from interlock.contract.report import Report, Table, counted
from interlock.contract.tree import Tree

Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[bot\])?$", max_length=100)]
"""A user's name on the forge."""
Context = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Rule = Literal[
    "protected",
    "force-push",
    "deletion",
    "reviews",
    "reviewers",
    "stale-reviews",
    "signed-commits",
    "checks",
    "linear-history",
    "direct-push",
    "exempt",
]
_Check = tuple[Rule, bool, str, str]
"""A rule, whether it holds, what is wanted, and what was found."""
EVERYBODY = "everybody who may write"
ADMINISTRATORS = "administrators"


class Wanted(Model):
    """How one repository's branch has to be guarded. Force pushes and deletion are never allowed, and nobody is exempt.

    What is not said here is strict, so a forge that is not named in policy/protection.yaml is held to all of it.
    """

    branch: Branch = "main"
    reviews: int = Field(default=1, ge=0, le=20)
    """How many approvals a change needs."""
    reviewers: tuple[Login, ...] = ()
    """Whose approvals count, by their names on the forge; without any, those of all who may write."""
    checks: tuple[Context, ...] = ()
    """Names of commit statuses that must be a success. GitLab knows only whole pipelines: they must succeed then."""
    signed_commits: bool = True
    linear_history: bool = True
    may_push: tuple[Login, ...] = ()
    """Who may push without a review: CI's account, where it releases directly."""


class Accepted(Model):
    """One weakening that does not freeze, until a day."""

    repository: RepositoryName
    rule: Rule
    reason: Reason
    ends: Day
    """The last day on which it counts."""


class ProtectionFile(File):
    """policy/protection.yaml"""

    repositories: dict[RepositoryName, Wanted] = Field(default={})
    """By the names that hosts and bindings give them."""
    accepted: tuple[Accepted, ...] = ()

    def wanted(self, repository: str) -> Wanted:
        return self.repositories.get(repository, Wanted())


STRICT = ProtectionFile(format=1)
"""What holds where there is no such file."""


@dataclass(frozen=True)
class Reviews:
    """So many approvals are asked for, of these people; None: of all who may write."""

    count: int = 0
    people: frozenset[str] | None = None


@dataclass(frozen=True)
class Settings:
    """What a forge holds a branch to, as it says itself. The defaults are what holds without any protection."""

    protected: bool = False
    force_push: bool = True
    deletion: bool = True
    reviews: tuple[Reviews, ...] = ()
    """All of them are asked for."""
    stale_reviews: bool = True
    """Whether an approval still counts after another push."""
    signed_commits: bool = False
    checks: frozenset[str] = frozenset()
    every_check: bool = False
    """Whether all that is reported must be a success, whatever its name."""
    linear_history: bool = False
    pushers: frozenset[str] = frozenset({EVERYBODY})
    """Who may push without a review."""
    exempt: frozenset[str] = frozenset({ADMINISTRATORS})
    """Whom the rules do not hold for."""


@dataclass(frozen=True)
class Weakening:
    """One rule that a forge holds less than is wanted."""

    rule: Rule
    wanted: str
    found: str
    fix: str
    accepted: str = ""
    """The reason of the commit that accepts it."""


def read(tree: Tree) -> ProtectionFile:
    """policy/protection.yaml; when there is none, everything is held to the strict defaults."""
    if layout.PROTECTION not in tree.files:
        return STRICT
    return strict_yaml.parse(tree.text(layout.PROTECTION), ProtectionFile, path=layout.PROTECTION)


def weakenings(wanted: Wanted, found: Settings, *, kind: ForgeKind) -> tuple[Weakening, ...]:
    """Each rule that the forge holds less than wanted; holding more is none."""
    if not found.protected:
        text = f"{wanted.branch} is protected"
        return (Weakening("protected", text, "it is not", _fix("protected", kind)),)
    checks: tuple[_Check, ...] = (
        ("force-push", not found.force_push, "refused", "allowed"),
        ("deletion", not found.deletion, "refused", "allowed"),
        *_of_reviews(wanted, found),
        ("signed-commits", found.signed_commits or not wanted.signed_commits, "required", "not required"),
        _of_checks(wanted, found),
        ("linear-history", found.linear_history or not wanted.linear_history, "required", "merges are allowed"),
        _of_people("direct-push", wanted.may_push, found.pushers),
        _of_people("exempt", (), found.exempt),
    )
    return tuple(Weakening(rule, want, have, _fix(rule, kind)) for rule, holds, want, have in checks if not holds)


def _of_reviews(wanted: Wanted, found: Settings) -> tuple[_Check, ...]:
    if not wanted.reviews:
        return ()
    most = max((each.count for each in found.reviews), default=0)
    pool = _lower(wanted.reviewers)
    enough = [each for each in found.reviews if each.count >= wanted.reviews]
    within = not pool or any(each.people is not None and _lower(each.people) <= pool for each in enough)
    others = sorted({name for each in enough for name in (each.people or {EVERYBODY}) if name.lower() not in pool})
    return (
        ("reviews", bool(enough), f"at least {wanted.reviews}", str(most)),
        ("reviewers", not enough or within, f"only {_named(wanted.reviewers)}", f"also {_named(others)}"),
        ("stale-reviews", not found.stale_reviews, "dismissed by a push", "an approval outlives a push"),
    )


def _of_checks(wanted: Wanted, found: Settings) -> _Check:
    missing = sorted(set(wanted.checks) - found.checks)
    return "checks", found.every_check or not missing, _named(wanted.checks), f"without {_named(missing)}"


def _of_people(rule: Rule, allowed: Iterable[str], found: Iterable[str]) -> _Check:
    known = _lower(allowed)
    others = sorted(name for name in found if name.lower() not in known)
    return rule, not others, f"nobody{' but ' + _named(allowed) if known else ''}", _named(others)


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _named(names: Iterable[str]) -> str:
    return ", ".join(names) or "nobody"


def judged(
    found: Sequence[Weakening], file: ProtectionFile, *, repository: str, today: dt.date
) -> tuple[Weakening, ...]:
    """The weakenings, with the reason of those that a commit accepts."""
    reasons = {
        each.rule: f"{each.reason} (until {each.ends})"
        for each in file.accepted
        if each.repository == repository and today <= each.ends
    }
    return tuple(Weakening(each.rule, each.wanted, each.found, each.fix, reasons.get(each.rule, "")) for each in found)


def report(found: Mapping[str, Sequence[Weakening]]) -> Report:
    """All repositories in one table; the title says how many rules are held less than wanted."""
    rows: list[tuple[str, ...]] = []
    for name, weak in found.items():
        for each in weak:
            todo = f"accepted: {each.accepted}" if each.accepted else each.fix
            rows.append((name, each.rule, each.wanted, each.found, todo))
    open_ = sum(not each.accepted for weak in found.values() for each in weak)
    names = ", ".join(found) or "no repository"
    title = f"{names}: {counted(open_, 'rule is', 'rules are')} weaker than wanted" if open_ else f"{names}: as wanted"
    data = {name: [asdict(each) for each in weak] for name, weak in found.items()}
    table = Table.of("repository", "rule", "wanted", "found", "fix", rows=rows)
    return Report("branch-protection", title, tables=(table,) if rows else (), data=data)


_BY_HAND: dict[tuple[Rule, ForgeKind], str] = {
    ("protected", "github"): "Settings, Branches, add a branch protection rule",
    ("protected", "gitlab"): "Settings, Repository, Protected branches",
    ("protected", "gitea"): "Settings, Branches, add a rule",
    ("reviewers", "github"): "require review from code owners, and name only the pool in .github/CODEOWNERS, with `*`",
    ("reviewers", "gitlab"): "an approval rule of the pool alone (Premium)",
    ("reviews", "gitlab"): "an approval rule (Premium), which `apply` makes where the edition has it",
    ("signed-commits", "gitlab"): "push rules, reject unsigned commits (Premium)",
    ("linear-history", "gitlab"): "Settings, Merge requests, fast-forward merge",
    ("linear-history", "gitea"): "Settings, Repository, Pull requests: fast-forward only",
    ("exempt", "github"): "do not allow bypassing the settings; rulesets: no bypass list",
    ("exempt", "gitea"): "apply the rule to administrators too",
}


def _fix(rule: Rule, kind: ForgeKind) -> str:
    by_hand = _BY_HAND.get((rule, kind))
    return f"interlock protect apply, or by hand: {by_hand}" if by_hand else "interlock protect apply"
