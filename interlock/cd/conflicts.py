"""Who has a field that we want, and what the environment's rules decide about it: force it, or leave it to him."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from interlock.cd import compare
from interlock.cd.compare import Claim
from interlock.cd.foreign import Unexplained
from interlock.cd.objects import Body, ItemKey, Part, Path, keyed, matches_key, reach
from interlock.contract import field_path
from interlock.contract.field_path import Step, Steps
from interlock.contract.models import ConflictRule
from interlock.contract.render import Identity

ANYBODY = "*"


def rule_for(
    rules: Iterable[ConflictRule], identity: Identity, path: Path, manager: str, *, decision: str | None = None
) -> ConflictRule | None:
    """The first rule that speaks of this field, or of one that it is in, and of this opponent."""
    return next(
        (
            rule
            for rule in rules
            if decision in {None, rule.decision}
            and speaks_of(rule, identity)
            and rule.manager in {manager, ANYBODY}
            and starts(path, field_path.parse(rule.path))
        ),
        None,
    )


def speaks_of(rule: ConflictRule, identity: Identity) -> bool:
    return (
        is_of_kind(rule.kind, identity)
        and rule.namespace in {None, identity.namespace}
        and rule.name in {None, identity.name}
    )


def is_of_kind(name: str, identity: Identity) -> bool:
    """Whether `Deployment.apps`, or `Deployment` of any group, is an object's kind."""
    kind, _, group = name.partition(".")
    return kind == identity.kind and group in {"", identity.group}


def starts(path: Path, steps: Steps) -> bool:
    """Whether a path is the one that a rule names, or lies below it."""
    return len(path) >= len(steps) and all(map(fits, path, steps))


def fits(part: Part, step: Step) -> bool:
    if isinstance(step, str):
        return part == step
    if isinstance(part, ItemKey):
        return set(step.keys) <= {(key, str(value)) for key, value in part.keys}
    return isinstance(part, int) and not step.keys


# what is left to others ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Yielded:
    """A field that an opponent keeps, and why."""

    path: Path
    kind: Literal["allowed", "contested"]
    claim: Claim | None
    reason: str


def left(
    desired: Body, live: Body, identity: Identity, rules: Iterable[ConflictRule], *, manager: str
) -> tuple[Yielded, ...]:
    """The declared leaves that a rule leaves to an opponent who has them.

    What he has not is applied as ever: a field that nobody applies any more would go.
    """
    found: dict[Path, Yielded] = {}
    others = [claim for claim in compare.claims(live) if claim != compare.ours(live, manager)]
    for rule in rules:
        if rule.decision != "leave" or not speaks_of(rule, identity):
            continue
        mine = [claim for claim in others if rule.manager == claim.manager]
        for path in _leaves(desired, field_path.parse(rule.path)):
            claim = next((claim for claim in mine if compare.claimed(claim.fields, path)), None)
            first = rule_for(rules, identity, path, rule.manager)
            if claim and first is rule and not field_path.protected(identity.kind, path):
                found.setdefault(path, Yielded(path, "allowed", claim, rule.reason))
    return tuple(found.values())


def _leaves(desired: Body, steps: Steps) -> Iterator[Path]:
    for path in places(desired, steps):
        yield from _below(reach(desired, path), path)


def _below(value: object, path: Path) -> Iterator[Path]:
    """The leaves of what is declared at a path. A list without keys is one, as the server merges it."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _below(each, (*path, key))
    elif isinstance(value, list) and (items := keyed(str(path[-1]), value)):
        for item, each in items.items():
            inside = {key: below for key, below in each.items() if key not in item.fields}
            yield from _below(inside, (*path, item)) if inside else ()
    else:
        yield path


def places(value: Any, steps: Steps, path: Path = ()) -> Iterator[Path]:
    """Every place in a body that a rule's path leads to."""
    if not steps:
        yield path
        return
    step, *rest = steps
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield from places(value[step], tuple(rest), (*path, step))
    elif isinstance(value, list):
        items = keyed(str(path[-1]) if path else "", value) or {}
        for key, below in items.items():
            if fits(key, step):
                yield from places(below, tuple(rest), (*path, key))


def without(body: Body, paths: Iterable[Path]) -> Body:
    """The body without these fields; a mapping that is empty then goes too. The body itself stays as it is."""
    for path in paths:
        shorter = _without(body, path)
        body = shorter if isinstance(shorter, dict) else body
    return body


def _without(value: Any, path: Path) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(head, ItemKey) and isinstance(value, list):
        items = [_without(item, rest) if rest and matches_key(item, head.fields) else item for item in value]
        return items if rest else [item for item in items if not matches_key(item, head.fields)]
    if not isinstance(value, dict) or head not in value:
        return value
    below = _without(value[head], rest) if rest else {}
    if below == {}:
        return {key: each for key, each in value.items() if key != head}
    return {**value, head: below}


def parted(things: Iterable[Unexplained], stops: Iterable[Steps]) -> tuple[Unexplained, ...]:
    """Things that nobody declared, in parts where a rule names something within one: the rest of it has no rule."""
    named = tuple(stops)
    return tuple(part for thing in things for part in _parts(thing, named))


def _parts(thing: Unexplained, stops: tuple[Steps, ...]) -> Iterator[Unexplained]:
    deeper = [s for s in stops if len(s) > len(thing.path) and all(map(fits, thing.path, s[: len(thing.path)]))]
    below = _inside(thing) if deeper else ()
    if not below:
        yield thing
        return
    for part, value in below:
        default = reach(thing.default, (part,))
        yield from _parts(Unexplained((*thing.path, part), value, default), tuple(deeper))


def _inside(thing: Unexplained) -> tuple[tuple[Part, Any], ...]:
    if isinstance(thing.value, dict):
        return tuple(thing.value.items())
    if isinstance(thing.value, list):
        return tuple((keyed(str(thing.path[-1]), thing.value) or {}).items())
    return ()


def allowed(
    thing: Unexplained, live: Body, identity: Identity, rules: Iterable[ConflictRule], *, manager: str
) -> Yielded | None:
    """Whether a rule lets an opponent keep what he put there and Git does not declare."""
    if field_path.protected(identity.kind, thing.path):
        return None
    claim = compare.claimant(live, thing.path, manager=manager)
    rule = rule_for(rules, identity, thing.path, claim.manager, decision="leave") if claim else None
    return Yielded(thing.path, "allowed", claim, rule.reason) if claim and rule else None


# what an apply may force -----------------------------------------------------------------------------


def spelled_by_server(path: Path) -> str:
    """A path as the server's conflicts name it: `.spec.template.spec.containers[name="web"].image`."""
    text = ""
    for part in path:
        if isinstance(part, ItemKey):
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(part.keys)) + "]"
        else:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def covered(field: str, forced: Iterable[str]) -> bool:
    """Whether a conflict that the server names is about a field that was decided to be forced, or a part of one."""
    return any(field == each or field.startswith((f"{each}.", f"{each}[")) for each in forced)


def told(claim: Claim | None) -> str:
    """An opponent, for people: `kubectl-edit (Update, 2030-01-02T03:04:05Z)`."""
    if claim is None:
        return "somebody whose claim is gone"
    facts = ", ".join(fact for fact in (claim.operation, claim.time) if fact)
    return f"{claim.manager or 'unnamed'} ({facts})" if facts else claim.manager
