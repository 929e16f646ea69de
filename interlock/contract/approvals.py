"""Approvals: which people agree that an environment becomes what it reads at a commit. Format and decision; pure.

An approval lies as a file in the environment repository and carries its giver's own signature, so that it does not
matter who brings it there. It binds repository, branch and environment, what was deployed when it was given, a digest
of everything that the environment reads, and an end. Where an environment's rule says so, reviews on a forge count
beside them. docs/approvals.md tells it to people.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import StringConstraints, ValidationError

from interlock.contract import commit as commits
from interlock.contract import effects, layout, reviews, signature
from interlock.contract.canonical import canonical
from interlock.contract.commit import Parsed
from interlock.contract.effects import History
from interlock.contract.host import Branch
from interlock.contract.models import ApprovalRule, CommitId, Digest, File, Model, Name, StableId
from interlock.contract.report import counted
from interlock.contract.repository import read_approvals, read_trust
from interlock.contract.reviews import Accounts, Found, Range
from interlock.contract.tree import Tree
from interlock.errors import FormatError, Refused

NAMESPACE = "interlock-approval"
"""What the signature is for: a signature over a commit or a receipt is none over an approval."""
MOST_BYTES = 16 << 10
_NOTHING: Mapping[str, frozenset[str]] = {}
_CLOCKS_DIFFER = dt.timedelta(minutes=5)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Approval(File):
    """What a person signs."""

    repository: StableId
    branch: Branch
    environment: StableId
    base: CommitId | None
    """What was deployed; None: nothing yet."""
    reads: Digest
    """Of everything that the environment reads."""
    approver: Name
    given: Time
    ends: Time


class _Signed(Model):
    approval: Approval
    signature: str


@dataclass(frozen=True)
class Given:
    """An approval as it lies in the repository. Its signature may be anybody's, until it was verified."""

    path: str
    approval: Approval
    signature: str


def statement(approval: Approval) -> bytes:
    """The bytes that the signature covers."""
    return canonical(approval.model_dump(mode="json"))


def write(approval: Approval, armored: str) -> bytes:
    """Its file."""
    value = {"approval": approval.model_dump(mode="json"), "signature": armored}
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read(data: bytes, *, path: str) -> Given:
    """FormatError when it is no approval."""
    if len(data) > MOST_BYTES:
        raise FormatError(f"an approval has at most {MOST_BYTES >> 10} KiB", path=path)
    try:
        found = _Signed.model_validate_json(data)
        moment(found.approval.given), moment(found.approval.ends)
    except ValidationError as error:
        raise FormatError(f"not an approval: {error.errors()[0]['msg']}", path=path) from None
    except ValueError:
        raise FormatError("not an approval: a time in it is none", path=path) from None
    return Given(path, found.approval, found.signature)


def moment(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC)


def spelt(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime(_TIME)


# rules -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """What one commit asks for, with the keys that its people have there."""

    commit: str
    asks: ApprovalRule
    keys: Mapping[bytes, str]
    """Whose key it is, of all people and machines that may sign."""
    pool: frozenset[str]
    """Who may approve."""
    accounts: Accounts
    """Whose each account on a forge is."""

    def holds(self, name: str, key: bytes) -> bool:
        return self.keys.get(key) == name


def rule_of(tree: Tree, environment: str) -> Rule | None:
    """None where the commit asks for nobody's approval."""
    if layout.SIGNERS not in tree.files:
        return None
    asks = read_approvals(tree).get(environment)
    if asks is None:
        return None
    signers = read_trust(tree)[0].signers
    pool = {each.name for each in signers if each.approves and not each.machine}
    return Rule(tree.commit, asks, keys_of(tree), frozenset(asks.approvers or pool), reviews.accounts_of(signers))


def keys_of(tree: Tree) -> Mapping[bytes, str]:
    """Whose each key is."""
    return {signature.key_blob(key): each.name for each in read_trust(tree)[0].signers for key in each.all_keys}


# weighing --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weighed:
    """One approval: whether it counts, and if not, why not."""

    path: str
    approver: str
    ends: str
    problem: str = ""
    """Empty when it is sound: it may still be its giver's own change that it is about."""
    source: Literal["commit", "review"] = "commit"
    """Where it was given: as a file among the commits, or on a forge, whose word it is then."""

    @property
    def sound(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Question:
    """What an environment would become, and who agrees."""

    environment: str
    commit: str
    base: str | None
    """What is deployed."""
    reads: str
    changed: tuple[str, ...]
    """What of that differs from what is deployed."""
    authors: frozenset[str]
    outside: tuple[str, ...]
    """Of each commit by nobody who may change the environment: which, and by whom."""
    approvals: tuple[Weighed, ...]
    wanted: tuple[str, ...]
    """What is missing, a line each."""
    may: tuple[str, ...]
    """Who could give it."""
    stuck: bool = False
    """So few could give it that it will never be enough."""

    @property
    def answered(self) -> bool:
        return not self.wanted

    @property
    def counting(self) -> tuple[str, ...]:
        return tuple(sorted({each.approver for each in self.approvals if each.sound}))


@dataclass(frozen=True)
class Asked:
    """Where and when is asked."""

    repository: str
    branch: str
    environment: str
    environment_id: str
    now: dt.datetime
    root: str | None = None
    """The root pin: before it the host asks nobody. None: it is not known."""


@dataclass(frozen=True)
class _Step:
    """From what is deployed to what is asked about."""

    deployed: str | None
    commit: str
    reads: str


def question(
    history: History,
    asked: Asked,
    *,
    deployed: str | None,
    commit: str,
    forge: Found | None = None,
    squashed: Mapping[str, frozenset[str]] = _NOTHING,
) -> Question | None:
    """What has to be agreed to before the environment goes from one commit to another; None when nothing has.

    The rules of both commits hold, so no commit loosens the one that it is judged by. `forge` is what was said of the
    commits that `to_ask` names; None where no forge is asked. `squashed`: who wrote what a forge made a commit of, by
    commit; of one that is not named nobody knows it.
    """
    head, before = history.tree(commit), history.tree(deployed) if deployed else None
    rules = rules_that_hold(history, asked.environment, deployed=deployed, commit=commit, root=asked.root)
    if not rules:
        return None
    wanted = effects.reads(head, asked.environment)
    had = effects.reads(before, asked.environment) if before else {}
    if wanted == had:
        return None
    found = effects.changes(history, asked.environment, old=deployed, new=commit)
    keys = _all_keys(history, found, [tree for tree in (before, head) if tree])
    people = {name for names in keys.values() for name in names}
    signed_by = [_signed_by(each.parsed, keys) for each in found]
    unknown = _unknown_authors(found, signed_by, squashed, [tree for tree in (before, head) if tree])
    outside = _outside(found, signed_by, rules)
    step = _Step(deployed, commit, effects.digest_of(wanted))
    weighed = _weighed(history, asked, step, rules)
    if forge and _take_reviews(rules):
        range_ = replace(_range(history, found, deployed=deployed, commit=commit), squashed=frozenset(squashed))
        weighed += _reviewed(forge, range_, rules, head, now=asked.now)
    fingerprints = {signature.fingerprint(key): name for key, names in keys.items() for name in names}
    named = (effects.named(each, people, fingerprints) for each in found)
    wrote = (squashed[each.commit.id] for each in found if each.commit.id in squashed)
    authors = frozenset[str]().union(*signed_by, *named, *wrote)
    able = {name for key, name in keys_of(head).items() if all(rule.holds(name, key) for rule in rules)}
    lines, may, stuck = _missing(rules, weighed, authors, outside, able)
    return Question(
        environment=asked.environment,
        commit=commit,
        base=deployed,
        reads=step.reads,
        changed=effects.differing(had, wanted),
        authors=authors,
        outside=outside,
        approvals=weighed,
        wanted=(*lines, *unknown),
        may=may,
        stuck=stuck,
    )


def rules_that_hold(
    history: History, environment: str, *, deployed: str | None, commit: str, root: str | None
) -> tuple[Rule, ...]:
    """The commit's own and that of what is deployed; before the first deploy, every one that there ever was.

    Else who may write trust would take the rule away together with bringing what it is about.
    A root pin that is newer than what is deployed stands in its place: so says who keeps the host, in no repository.
    """
    older = _older(history, deployed=deployed, commit=commit, root=root)
    trees = map(history.tree, dict.fromkeys((*older, commit)))
    return tuple(rule for tree in trees if (rule := rule_of(tree, environment)))


def to_ask(history: History, asked: Asked, *, deployed: str | None, commit: str) -> Range | None:
    """The commits of which a forge's reviews would count; None when none would.

    Every rule that holds must take them: one that does not has been agreed to without believing a forge.
    """
    rules = rules_that_hold(history, asked.environment, deployed=deployed, commit=commit, root=asked.root)
    if not rules or not _take_reviews(rules):
        return None
    found = effects.changes(history, asked.environment, old=deployed, new=commit)
    return _range(history, found, deployed=deployed, commit=commit) if found else None


def _take_reviews(rules: Iterable[Rule]) -> bool:
    return all(rule.asks.reviews for rule in rules)


def _range(history: History, found: Iterable[effects.Change], *, deployed: str | None, commit: str) -> Range:
    line = tuple(raw.id for raw in history.commits(deployed, commit))
    return Range(line, tuple(each.commit.id for each in found))


def _older(history: History, *, deployed: str | None, commit: str, root: str | None) -> tuple[str, ...]:
    if deployed is None:
        return effects.trust_changes(history, since=root, new=commit)
    return (root,) if root and history.descends(deployed, root) else (deployed,)


def _all_keys(
    history: History, found: Iterable[effects.Change], trees: Iterable[Tree]
) -> Mapping[bytes, frozenset[str]]:
    """Whose each key is or was, at any commit of the range."""
    every = [*trees, *(history.tree(each.commit.id) for each in found if _touches_trust(each))]
    keys: dict[bytes, frozenset[str]] = {}
    for tree in every:
        try:
            known = keys_of(tree)
        except FormatError:
            continue
        former = {signature.key_blob(each.key): each.name for each in read_trust(tree)[0].ended}
        for key, name in (*known.items(), *former.items()):
            keys[key] = keys.get(key, frozenset()) | {name}
    return keys


def _touches_trust(change: effects.Change) -> bool:
    return any(each.path == layout.SIGNERS for each in change.commit.changes)


def _signed_by(parsed: Parsed, keys: Mapping[bytes, frozenset[str]]) -> frozenset[str]:
    """Nobody for a commit whose signature is no good: verification has judged it before."""
    try:
        return signature.verify(parsed.signature or "", parsed.payload, keys)
    except Refused:
        return frozenset()


def _unknown_authors(
    found: Sequence[effects.Change],
    signed_by: Sequence[frozenset[str]],
    squashed: Collection[str],
    trees: Iterable[Tree],
) -> tuple[str, ...]:
    """What a forge squashed without it being known of whom: nobody can be told to be somebody else."""
    forges = {each.name for tree in trees for each in read_trust(tree)[0].signers if each.forge}
    return tuple(
        f"to know who wrote {change.commit.id[:12]}, which a forge squashed: CD's host asks the forge"
        for change, names in zip(found, signed_by, strict=True)
        if names & forges and change.commit.id not in squashed
    )


def _outside(
    found: Sequence[effects.Change], signed_by: Sequence[frozenset[str]], rules: Iterable[Rule]
) -> tuple[str, ...]:
    allowed = [set(rule.asks.signers) for rule in rules if rule.asks.signers]
    return tuple(
        f"{change.commit.id[:12]} by {', '.join(sorted(names)) or 'nobody known'}"
        for change, names in zip(found, signed_by, strict=True)
        if any(not names or not names <= each for each in allowed)
    )


def _weighed(history: History, asked: Asked, step: _Step, rules: Sequence[Rule]) -> tuple[Weighed, ...]:
    """Every approval of just this state; those of other states say nothing of it."""
    head, found = history.tree(step.commit), list[Weighed]()
    keys = keys_of(head)
    for path in head.under(layout.approvals(asked.environment)):
        try:
            given = read(head.files[path], path=path)
        except FormatError as error:
            found.append(Weighed(path, "", "", error.problem))
            continue
        approval = given.approval
        if approval.reads == step.reads:
            problem = (
                _foreign(approval, asked)
                or _unsigned(given, keys, rules, step.deployed)
                or _out_of_time(approval, asked.now, rules)
                or _misplaced(history, asked, approval.base, step.deployed)
            )
            found.append(Weighed(path, approval.approver, approval.ends, problem))
    return tuple(found)


def _reviewed(
    forge: Found, range_: Range, rules: Sequence[Rule], head: Tree, *, now: dt.datetime
) -> tuple[Weighed, ...]:
    """What the forge says of the reviews, held to the same rules."""
    if forge.problem:
        return (Weighed("reviews", "", "", forge.problem, "review"),)
    accounts = (reviews.accounts_of(read_trust(head)[0].signers), *(rule.accounts for rule in rules))
    hours = min(rule.asks.hours for rule in rules)
    voices = frozenset[str]().union(*(rule.pool | set(rule.asks.signers) for rule in rules))
    return tuple(
        Weighed(
            f"review of request {each.request} by {each.account}",
            each.person,
            spelt(each.ends) if each.ends else "",
            each.problem or ("" if each.person in voices else f"{each.person} is none of the approvers"),
            "review",
        )
        for each in reviews.judged(forge.requests, range_, accounts=accounts, hours=hours, now=now)
    )


def _foreign(approval: Approval, asked: Asked) -> str:
    """What another place it is of; empty when it is of this one."""
    if (approval.repository, approval.branch) != (asked.repository, asked.branch):
        return "of another repository or branch"
    return "of another environment" if approval.environment != asked.environment_id else ""


def _unsigned(given: Given, keys: Mapping[bytes, str], rules: Iterable[Rule], deployed: str | None) -> str:
    """Why it is not its giver's; empty when it is signed by a key that is theirs at every commit that is asked."""
    name = given.approval.approver
    owned = {key: key for key, owner in keys.items() if owner == name}
    try:
        key = signature.verify(given.signature, statement(given.approval), owned, namespace=NAMESPACE)
    except Refused as refusal:
        return f"not signed by a key of {name}: {refusal.message}"
    lacking = next((rule.commit for rule in rules if not rule.holds(name, key)), None)
    if lacking is None:
        return ""
    when = "when the environment was deployed last" if deployed else f"at {lacking[:12]}, whose rule holds still"
    return f"{name} did not have this key {when}"


def _out_of_time(approval: Approval, now: dt.datetime, rules: Iterable[Rule]) -> str:
    begins, ends = moment(approval.given), moment(approval.ends)
    if ends <= now:
        return f"ended at {approval.ends}"
    if begins > now + _CLOCKS_DIFFER:
        return f"is of {approval.given}, which is still to come"
    if ends - begins > dt.timedelta(hours=min(rule.asks.hours for rule in rules)):
        return "lasts longer than the rule allows"
    return ""


def _misplaced(history: History, asked: Asked, base: str | None, deployed: str | None) -> str:
    """An approval is of one step: from what was deployed when it was given, and from nothing else.

    Commits in between do not matter as long as the environment read the same all the time.
    """
    if base == deployed:
        return ""
    for old, new in ((base, deployed), (deployed, base)):
        if old and new and history.descends(old, new):
            moved = effects.changes(history, asked.environment, old=old, new=new)
            return f"was given when {base[:12]} was deployed" if base and moved else ""
    return f"was given when {base[:12] if base else 'nothing'} was deployed"


def _missing(
    rules: Iterable[Rule],
    weighed: Iterable[Weighed],
    authors: Collection[str],
    outside: Collection[str],
    able: Collection[str],
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """What is missing still, who could give it, and whether there are too few of them.

    `able` have a key at every commit that is asked.
    """
    given = {each.approver for each in weighed if each.sound}
    lines: list[str] = []
    may, stuck = set[str](), False
    for rule in rules:
        pool = rule.pool - set(authors)
        others = (pool & set(able)) - given
        if (lacking := rule.asks.required - len(given & pool)) > 0:
            lines.append(f"{counted(lacking, 'approval')} of {_those(pool, able)}")
            may |= others
            stuck |= lacking > len(others)
        if outside and rule.asks.signers and not given & set(rule.asks.signers):
            lines.append(f"the approval of one who may change it ({', '.join(sorted(rule.asks.signers))})")
            may |= set(rule.asks.signers)
    return tuple(dict.fromkeys(lines)), tuple(sorted(may)), stuck


def _those(pool: Collection[str], able: Collection[str]) -> str:
    if not pool:
        return "nobody: all of the pool have made the change themselves"
    named = ", ".join(sorted(set(pool) & set(able)))
    return named or f"nobody: {', '.join(sorted(pool))} had other keys at a commit whose rule holds"


# without a host --------------------------------------------------------------------------------------


def presumed(history: History, environment: str, *, commit: str) -> str | None:
    """What is deployed as far as the commits tell: the newest other state that waited for nobody, or was approved.

    Only CD knows it for certain: a state may have been approved and not deployed.
    """
    agreed = _agreed(history.tree(commit), environment)
    now = _reads(history, commit, environment)
    touching = [raw for raw in history.commits(None, commit) if effects.touches(raw, environment)]
    for raw in reversed(touching):
        parent = next(iter(commits.parse(raw.data).parents), None)
        if parent is None:
            return None
        state = _reads(history, parent, environment)
        if state not in {now, None} and _was_free(history.tree(parent), environment, agreed.get(state or "", set())):
            return parent
    return None


def _agreed(head: Tree, environment: str) -> dict[str, set[str]]:
    """Who has ever approved which state; signatures are not looked at."""
    found: dict[str, set[str]] = {}
    for path in head.under(layout.approvals(environment)):
        with suppress(FormatError):
            approval = read(head.files[path], path=path).approval
            found.setdefault(approval.reads, set()).add(approval.approver)
    return found


def _reads(history: History, commit: str, environment: str) -> str | None:
    try:
        return effects.digest_of(effects.reads(history.tree(commit), environment))
    except FormatError:
        return None


def _was_free(tree: Tree, environment: str, agreed: Collection[str]) -> bool:
    try:
        rule = rule_of(tree, environment)
    except FormatError:
        return False
    return layout.environment(environment) in tree.files and (rule is None or len(agreed) >= rule.asks.required)
