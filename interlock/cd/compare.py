"""What we want against what lives: field by field, by the server's own list keys, without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from interlock.cd.objects import MISSING, Body, ItemKey, Part, Path, keyed, matches_key, reach

Fields = Mapping[str, Any]
"""A fieldsV1 set: `f:` names a mapping's key, `k:` a list's item by its keys, `v:` by its value."""

_SYSTEM_METADATA = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp"}
)


@dataclass(frozen=True)
class Claim:
    """One entry of managedFields: who says that he wrote these fields. An opponent can strip or forge it."""

    manager: str
    operation: str
    time: str
    subresource: str
    api_version: str
    fields: Fields


def claims(live: Body) -> tuple[Claim, ...]:
    return tuple(_claim(entry) for entry in live["metadata"].get("managedFields") or ())


def _claim(entry: Mapping[str, Any]) -> Claim:
    return Claim(
        manager=entry.get("manager", ""),
        operation=entry.get("operation", ""),
        time=entry.get("time", ""),
        subresource=entry.get("subresource", ""),
        api_version=entry.get("apiVersion", ""),
        fields=entry.get("fieldsV1") or {},
    )


def ours(live: Body, manager: str) -> Claim | None:
    """Our own claim: by name *and* operation Apply, never somebody's Update under our name."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return _claim(entry)
    return None


def claimant(live: Body, path: Path, *, manager: str) -> Claim | None:
    """Whoever but us claims a path most closely; of several, the newest."""
    own = ours(live, manager)
    others = [(depth, c.time, c) for c in claims(live) if c != own and (depth := closeness(c.fields, path, live))]
    return max(others, key=lambda found: found[:2])[2] if others else None


def held(live: Body, path: Path, *, manager: str) -> Claim | None:
    """Our claim, when nobody claims the path more closely.

    A claim on a mapping as such looks like one on all that is in it: whoever claims its key tells them apart.
    """
    own, other = ours(live, manager), claimant(live, path, manager=manager)
    mine = closeness(own.fields, path, live) if own else 0
    return own if mine and mine >= (closeness(other.fields, path, live) if other else 0) else None


def claimed(fields: Fields, path: Path) -> bool:
    """Whether a fieldsV1 set has a path, or something around or below it."""
    return closeness(fields, path) > 0


def closeness(fields: Fields, path: Path, live: object = MISSING) -> int:
    """How many steps of a path a fieldsV1 set names; 0 when it does not have the path.

    It needs not name all: an atomic list or mapping is one claim. `live` is for what it names by value or by keys.
    """
    for depth, part in enumerate(path):
        live = reach(live, (part,))
        found = step(fields, part, live)
        if found is None:
            return 0
        if not found[1]:
            return depth + 1
        fields = found[1]
    return len(path)


def step(fields: Fields, part: Part, live: object = MISSING) -> tuple[str, Fields] | None:
    """One step of a path in a fieldsV1 set: the name there, and what is below. `live` is what lives there."""
    if isinstance(part, str):
        name = f"f:{part}"
        return (name, fields[name]) if name in fields else None
    return next(((name, below) for name, below in fields.items() if _names(name, part, live)), None)


def _names(name: str, part: Part, live: object) -> bool:
    """Whether a name of an item, by keys or by value, is that of the item at a step."""
    said = _said(name)
    if said is MISSING:
        return False
    if name[:2] == "v:":
        return bool(said == live)
    return matches_key(live, said) or (isinstance(part, ItemKey) and said == part.fields)


# equal without asking --------------------------------------------------------------------------------


def settled(desired: Body, live: Body, manager: str) -> bool:
    """Whether every desired field lives with its value, is claimed by us, and we claim nothing else.

    True is sure: an apply would change nothing. False only means that the server has to be asked.
    """
    claim = ours(live, manager)
    if claim is None or claim.api_version != desired["apiVersion"]:
        return False
    return _settled(_declared(desired), live, claim.fields)


def _declared(desired: Body) -> Body:
    """What an apply declares: everything but what only names the object."""
    metadata = {key: value for key, value in desired["metadata"].items() if key not in {"name", "namespace"}}
    body = {key: value for key, value in desired.items() if key not in {"apiVersion", "kind"}}
    return {**body, "metadata": metadata}


def _settled(desired: Any, live: Any, fields: Fields) -> bool:
    if not fields:
        return _same(desired, live)
    if isinstance(desired, dict) and isinstance(live, dict):
        return _settled_fields(desired, live, fields)
    if isinstance(desired, list) and isinstance(live, list):
        return _settled_items(desired, live, fields)
    return False


def _settled_fields(desired: Body, live: Body, fields: Fields) -> bool:
    """Whether just the desired fields are claimed, and each is settled. Short cuts, because this is where a large plan
    spends its time.
    """
    if len(desired) != len(fields) - ("." in fields):
        return False
    for key, value in desired.items():
        below = fields.get(f"f:{key}")
        if below is None or key not in live:
            return False
        have = live[key]
        if below:
            if not _settled(value, have, below):
                return False
        elif type(value) is str:
            if value != have:
                return False
        elif not _same(value, have):
            return False
    return True


def _settled_items(desired: list[Any], live: list[Any], fields: Fields) -> bool:
    if len(fields) - ("." in fields) != len(desired):
        return False
    named = {key: _said(key) for key in fields if key != "."}
    settled_ = all(_settled_item(desired, live, key, said, fields[key]) for key, said in named.items())
    return settled_ and _in_one_order(desired, live, [said for key, said in named.items() if key[:2] == "k:"])


def _in_one_order(desired: list[Any], live: list[Any], keys: list[Body]) -> bool:
    """Whether the items of these keys follow each other alike: what runs or is read first may depend on it."""
    if len(keys) < 2:
        return True
    return _places(desired, keys) == _places(live, keys)


def _places(items: list[Any], keys: list[Body]) -> list[int]:
    return [at for item in items for at, key in enumerate(keys) if matches_key(item, key)]


def _settled_item(desired: list[Any], live: list[Any], key: str, named: Any, below: Fields) -> bool:
    if named is MISSING:
        return False
    if key[:2] == "v:":
        return named in desired and named in live
    want, have = _item_of(desired, named), _item_of(live, named)
    if want is None or have is None:
        return False
    # A key that the server filled in, such as a port's protocol, is not claimed as a field.
    return _settled(want, have, {name: set_ for name, set_ in below.items() if name != "."})


def _said(name: str) -> Any:
    """The keys or the value by which a fieldsV1 set names an item, which nobody changes; MISSING where it names none.

    Whoever may write an object may write anything here, under our name too.
    """
    return _remembered(name) if len(name) < _LONG_NAME else _read(name)


@lru_cache(maxsize=1024)
def _remembered(name: str) -> Any:
    """The same ones name items of many objects."""
    return _read(name)


def _read(name: str) -> Any:
    if name[:2] not in {"k:", "v:"}:
        return MISSING
    try:
        said = json.loads(name[2:])
    except (ValueError, RecursionError):
        return MISSING
    return said if name[:2] == "v:" or isinstance(said, dict) else MISSING


_LONG_NAME = 200
"""Whoever may write an object may claim anything in it: what is that long is not worth remembering."""


def _item_of(items: list[Any], keys: Mapping[str, object]) -> Any:
    return next((item for item in items if matches_key(item, keys)), None)


def changed_values(desired: Body, live: Body, manager: str) -> tuple[tuple[Path, Any], ...] | None:
    """Where Git declares another value than lives, when nothing but values differs: path and desired value.

    None when we do not claim just what is declared, or lists and mappings have other members: then only the server
    knows what an apply would do.
    """
    claim = ours(live, manager)
    if claim is None or claim.api_version != desired["apiVersion"]:
        return None
    try:
        return tuple(_changed(_declared(desired), live, claim.fields, ()))
    except _OtherShape:
        return None


class _OtherShape(Exception):
    """More than values differs."""


def _changed(desired: Any, live: Any, fields: Fields, path: Path) -> Iterator[tuple[Path, Any]]:
    below = {name: set_ for name, set_ in fields.items() if name != "."}
    if not below:
        if not _same(desired, live):
            yield path, desired
    elif isinstance(desired, dict) and isinstance(live, dict):
        if {f"f:{key}" for key in desired} != below.keys() or not desired.keys() <= live.keys():
            raise _OtherShape
        for key, value in desired.items():
            yield from _changed(value, live[key], below[f"f:{key}"], (*path, key))
    elif isinstance(desired, list) and isinstance(live, list) and len(desired) == len(below):
        if not _in_one_order(desired, live, [said for name in below if isinstance(said := _said(name), dict)]):
            raise _OtherShape
        for name, set_ in below.items():
            yield from _changed_item(desired, live, name, set_, path)
    else:
        raise _OtherShape


def _changed_item(
    desired: list[Any], live: list[Any], name: str, fields: Fields, path: Path
) -> Iterator[tuple[Path, Any]]:
    keys = _said(name)
    if keys is MISSING or name[:2] != "k:":
        if keys is MISSING or keys not in desired or keys not in live:
            raise _OtherShape
        return
    want, have = _item_of(desired, keys), _item_of(live, keys)
    if want is None or have is None:
        raise _OtherShape
    yield from _changed(want, have, fields, (*path, ItemKey(tuple(keys.items()))))


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is not true, and a list has an order."""
    if one is other:  # a predicted object has most of its parts from the living one
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if kind is list:
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


# what an apply would change --------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """`before` or `after` is MISSING where a field comes or goes."""

    path: Path
    before: object
    after: object


def differences(live: Body, predicted: Body) -> tuple[Difference, ...]:
    """What the server would change, by its answer to a dry run. Its own bookkeeping and the status do not count."""
    return tuple(_differences(_content(live), _content(predicted), ()))


def ownership_changes(live: Body, predicted: Body, manager: str) -> bool:
    """Whether an apply would change what we claim, though no value."""
    before, after = ours(live, manager), ours(predicted, manager)
    return (before.fields if before else None) != (after.fields if after else None)


def _content(body: Body) -> Body:
    metadata = {key: value for key, value in body["metadata"].items() if key not in _SYSTEM_METADATA}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _differences(before: Any, after: Any, path: Path) -> Iterator[Difference]:
    if _same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _below(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and (pairs := _pairs(before, after, path)):
        yield from _below(*pairs, path)
        yield from _moved(*pairs, path)
    else:
        yield Difference(path, before, after)


def _below(before: Mapping[Any, Any], after: Mapping[Any, Any], path: Path) -> Iterator[Difference]:
    for key in (*before, *(key for key in after if key not in before)):
        yield from _differences(before.get(key, MISSING), after.get(key, MISSING), (*path, key))


def _moved(before: Mapping[ItemKey, Any], after: Mapping[ItemKey, Any], path: Path) -> Iterator[Difference]:
    """Items that stay and follow each other otherwise, as their keys: init containers run in their order, and a
    variable may be made of those before it.
    """
    one, other = [key for key in before if key in after], [key for key in after if key in before]
    if one != other:
        yield Difference(path, [key.fields for key in one], [key.fields for key in other])


def _pairs(before: list[Any], after: list[Any], path: Path) -> tuple[dict[ItemKey, Any], dict[ItemKey, Any]] | None:
    field = str(path[-1]) if path else ""
    one, other = keyed(field, before), keyed(field, after)
    return (one, other) if one and other else None
