"""What a live plan says on a pull request: to people who may read the repository, and need not be let into the cluster.

So only what the commit does is told: no live value but what CD itself put there from Git, nothing of a Secret, and of
what nobody declared only the number. Whatever comes from elsewhere stands in a fence, printable and line by line, where
no forge reads Markdown, mentions or commands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from interlock.cd import roll
from interlock.cd.objects import subject
from interlock.cd.plan import STOPS, Action, FieldChange, Plan, PlanItem
from interlock.cd.plan_report import WORDS, made_by, place, urgency
from interlock.contract.commit import COMMIT_ID
from interlock.contract.manifest import Identity, Manifest
from interlock.contract.render import Rendered
from interlock.contract.report import counted

MAX_TEXT = 60_000
"""How long a comment may be, in characters; GitHub takes 65,536."""
_REST = 100
"""What is kept free of it to say how much is left out."""
_LINE = 300
_FIELDS = 20
_MARKS = {Action.CREATE: "+", Action.PRUNE: "-"}
_PRIVATE = frozenset({"denied", "frozen", "mirror", "record-mismatch"})
"""Rules whose refusals speak of the host and not of the commit."""


@dataclass(frozen=True)
class Section:
    """What there is to say of one environment; `lines` may hold anything."""

    environment: str
    verdict: str
    lines: tuple[str, ...] = ()


# Secrets that the request changes ---------------------------------------------------------------------


@dataclass(frozen=True)
class Untold:
    """The Secrets that the request declares otherwise than the branch does, and the objects that roll with them.

    Whether the cluster has just these values already would be an answer to a guess, so it is not said.
    """

    secrets: frozenset[Identity] = frozenset()
    users: frozenset[Identity] = frozenset()


def untold(before: Rendered | None, after: Rendered) -> Untold:
    """Before sealed values are opened, and before anything rolls. None: nobody knows what the branch declares."""
    known = {each.identity: each.body for each in before.manifests} if before else {}
    changed = [each for each in after.manifests if _is_secret(each.identity) and known.get(each.identity) != each.body]
    rolling = {_used(each) for each in changed if roll.rolls(each)}
    users = {each.identity for each in after.manifests if rolling and rolling & set(_uses(each))}
    return Untold(frozenset(each.identity for each in changed), frozenset(users))


def _is_secret(identity: Identity) -> bool:
    return (identity.group, identity.kind) == ("", "Secret")


def _used(secret: Manifest) -> tuple[str, str]:
    return secret.identity.namespace, secret.identity.name


def _uses(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for found in roll.references(manifest.body):
        if found.kind == "Secret":
            yield manifest.identity.namespace, found.name


def hushed(plan: Plan, quiet: Untold) -> Plan:
    """The plan without an answer to any guess: as if none of these Secrets had been compared."""
    if not quiet.secrets:
        return plan
    names = [_name(each) for each in sorted(quiet.secrets)]
    items = [_hushed(item, names, quiet.users) for item in plan.items if not _is_one_of(item.identity, quiet.secrets)]
    secrets = [PlanItem(each, Action.CHANGE, "declared otherwise than on the branch") for each in sorted(quiet.secrets)]
    return replace(plan, items=(*items, *secrets), over=())


def _is_one_of(identity: Identity, secrets: Collection[Identity]) -> bool:
    return _is_secret(identity) and any(
        identity.namespace == each.namespace
        and (identity.name == each.name or _name(each).fullmatch(identity.name) is not None)
        for each in secrets
    )


def _name(secret: Identity) -> re.Pattern[str]:
    """The names that its contents give it."""
    return re.compile(rf"{re.escape(roll.stem(secret.name))}-[0-9a-f]{{{roll.DIGITS}}}")


def _hushed(item: PlanItem, names: Sequence[re.Pattern[str]], users: Collection[Identity]) -> PlanItem:
    if item.identity not in users:
        return item
    fields = tuple(field for field in item.fields if not _names_one(field, names))
    action = Action.CHANGE if item.action == Action.UNCHANGED else item.action
    return replace(item, action=action, fields=fields, reason="uses a Secret that is declared otherwise")


def _names_one(field: FieldChange, names: Iterable[re.Pattern[str]]) -> bool:
    return any(name.search(f"{field.live}\n{field.desired}") for name in names)


# one environment -------------------------------------------------------------------------------------


def planned(plan: Plan, *, manager: str, quiet: Untold) -> Section:
    """`manager` is the field manager by which the environment's objects are CD's."""
    plan = hushed(plan, quiet)
    named = sorted((item for item in plan.items if item.action not in _COUNTED), key=urgency)
    words = Counter(item.action.value for item in plan.items)
    counts = ", ".join(f"{words[name]} {word}" for name, word in WORDS.items() if words[name])
    over = ("over the budget",) if plan.over else ()
    unsaid = ("! it changes Secrets: whether it keeps to the budget is not said",) if quiet.secrets else ()
    lines = [*(f"! over the budget: {line}" for line in plan.over), *unsaid, *_told(named, manager)]
    return Section(plan.environment, ", ".join((counts or "nothing to change", *over)), tuple(lines))


_COUNTED = frozenset({Action.UNCHANGED, Action.FOREIGN})
"""Not named: what is as it should be, and what is none of the commit's."""


def not_planned(environment: str, message: str, *, rule: str = "") -> Section:
    """Because of what the commit is: CD would refuse it."""
    if rule in _PRIVATE:
        message = "this host would refuse it; its own pages say why"
    said = [f"! {line}" for line in message.splitlines()]
    return Section(environment, f"not planned ({rule})" if rule else "not planned", tuple(said))


def unknown(environment: str) -> Section:
    """Because of a tool: what it said is for the host's own pages, which not everybody here may read."""
    return Section(environment, "unknown: the plan could not be made; it is tried again")


def _told(items: Iterable[PlanItem], manager: str) -> Iterator[str]:
    for item in items:
        why = "could not be compared" if item.action == Action.UNKNOWN else _why(item)
        yield f"{_MARKS.get(item.action, '!')} {item.action.value} {subject(item.identity)}{f': {why}' if why else ''}"
        if item.origin and not item.fields:
            yield f"    {place(item.origin)}"
        for field in item.fields[:_FIELDS]:
            yield f"    {_field(field, manager)}"
            if origin := made_by(field):
                yield f"      {origin}"
        if len(item.fields) > _FIELDS:
            yield f"    … and {counted(len(item.fields) - _FIELDS, 'more field')}"


def _why(item: PlanItem) -> str:
    """A server that refuses a Secret may quote it."""
    return "" if _is_secret(item.identity) and item.action in STOPS else item.reason


def _field(field: FieldChange, manager: str) -> str:
    """The live value only where CD itself applied it, from a commit before; the other only where a line of Git makes
    it, and no webhook.
    """
    if field.masked:
        return f"{field.path}: a Secret's value"
    if field.kind in {"foreign", "removed", "allowed", "contested"}:
        return f"{field.path}: {_NOT_OURS[field.kind]}"
    live = _value(field.live) if field.live is None or (field.manager, field.operation) == (manager, "Apply") else "…"
    then = _value(field.desired) if field.desired is None or field.origin else "…"
    return f"{field.path}: {live} → {then}{' (drift)' if field.kind == 'drift' else ''}"


_NOT_OURS: Mapping[str, str] = {
    "foreign": "not in Git, stays",
    "removed": "not in Git, goes",
    "allowed": "left to its owner",
    "contested": "contested, stays for now",
}


def _value(value: str | None) -> str:
    return "nothing" if value is None else value or '""'


# the whole -------------------------------------------------------------------------------------------


def comment(*, mark: str, host: str, head: str, branch: str, base: str, sections: Sequence[Section]) -> str:
    """Markdown. Environments of which the same is to be said stand together. `head` may be what a forge said."""
    commit = head[:12] if COMMIT_ID.fullmatch(head) else "?"
    beginning = (
        f"{mark}\n**Live plan** of `{commit}` against the cluster, by the CD host `{host}`: what a deploy would do "
        f"if `{branch}`, now at `{base[:12]}`, were moved there. Nothing was changed."
    )
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in sections:
        together.setdefault((each.verdict, each.lines), []).append(each.environment)
    room = MAX_TEXT - len(beginning) - _REST
    share = room // max(1, len(together))
    parts: list[str] = []
    for (verdict, lines), names in together.items():
        part = _part(names, verdict, lines, share)
        room -= len(part) + 2
        if room < 0:
            parts.append(f"… and {counted(len(together) - len(parts), 'more section')} would not fit")
            break
        parts.append(part)
    return "\n\n".join((beginning, *parts))


def _part(names: Sequence[str], verdict: str, lines: Sequence[str], most: int) -> str:
    title = f"### {_few(names)}: {verdict}"
    return f"{title}\n\n{_fenced(lines, most - len(title) - 4)}" if lines else title


_NAMES = 20


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _fenced(lines: Sequence[str], most: int) -> str:
    """The first of the lines, and how many are not shown."""
    room, shown = most - _REST, list[str]()
    for line in map(_printable, lines):
        # A fence may be as long as a line.
        room -= len(line) + 1 + 2 * line.count("`")
        if room < 0:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    cut = [f"… {counted(left, 'more line')} would not fit"] if left else []
    longest = max((len(run) for line in shown for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}diff", *shown, *cut, fence))


def _printable(line: str) -> str:
    """One line without what moves, hides or turns the text around it."""
    text = "".join(each if each.isprintable() else "�" for each in line.expandtabs(1))
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"
