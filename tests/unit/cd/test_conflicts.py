"""Which rule decides about a field, and what is left out of an apply for it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd import conflicts
from interlock.cd.foreign import Unexplained
from interlock.cd.objects import ItemKey
from interlock.contract.field_path import parse
from interlock.contract.models import ConflictRule
from interlock.contract.render import Identity
from tests.unit.cd.bodies import MANAGER, claim, config_map, owns

C = Identity("", "ConfigMap", "shop", "c")


def rule(path: str = "data.a", **changes: Any) -> ConflictRule:
    values = {"kind": "ConfigMap", "path": path, "manager": "operator", "decision": "leave", "reason": "it is his own"}
    return ConflictRule.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"name": "c", "namespace": "shop"}, True),
        ({"path": "data"}, True),
        ({"path": "data.a.b"}, False),
        ({"name": "d"}, False),
        ({"namespace": "other"}, False),
        ({"kind": "ConfigMap.apps"}, False),
        ({"kind": "Secret"}, False),
        ({"manager": "Operator"}, False),
        ({"manager": "*", "decision": "force"}, True),
    ],
)
def test_a_rule_speaks_of_its_field_its_objects_and_its_manager(changes: dict[str, str], fits: bool) -> None:
    """What it does not name it does not narrow; a part of the path is the path too."""
    found = conflicts.rule_for([rule(**changes)], C, ("data", "a"), "operator")
    assert (found is not None) is fits


def test_the_first_rule_decides() -> None:
    """`force` before `leave` for the same field leaves nothing."""
    live = config_map({"a": "theirs"}, claim("operator", {"f:data": {"f:a": {}}}, operation="Update"))
    force, leave = rule(decision="force"), rule()
    desired = {"data": {"a": "1"}}

    assert conflicts.left(desired, live, C, [force, leave], manager=MANAGER) == ()
    (left,) = conflicts.left(desired, live, C, [leave, force], manager=MANAGER)
    assert left.claim is not None
    assert (left.path, left.claim.manager) == (("data", "a"), "operator")


def test_what_the_opponent_does_not_have_is_not_left_to_him() -> None:
    """Ours alone, or somebody else's: applied as ever."""
    for live in (config_map({"a": "1"}, claim(MANAGER, owns("a"))), config_map({"a": "x"}, claim("x", owns("a")))):
        assert conflicts.left({"data": {"a": "1"}}, live, C, [rule()], manager=MANAGER) == ()


def test_of_a_whole_only_what_the_opponent_has_is_left() -> None:
    """A rule for a mapping: its other fields are applied as ever, for what nobody applies would go."""
    live = config_map({"a": "theirs", "b": "1"}, claim("operator", {"f:data": {"f:a": {}}}), claim(MANAGER, owns("b")))

    left = conflicts.left({"data": {"a": "1", "b": "1"}}, live, C, [rule("data")], manager=MANAGER)

    assert [each.path for each in left] == [("data", "a")]


def test_a_field_that_is_left_takes_its_empty_parents_along() -> None:
    """What is applied claims no empty mapping; items of lists stay."""
    item = ItemKey((("name", "web"),))
    body = {"data": {"a": "1"}, "spec": {"containers": [{"name": "web", "resources": {"limits": {"cpu": "1"}}}]}}

    shorter = conflicts.without(body, [("data", "a"), ("spec", "containers", item, "resources", "limits", "cpu")])

    assert shorter == {"spec": {"containers": [{"name": "web"}]}}
    assert body["data"] == {"a": "1"}


def test_a_foreign_thing_is_parted_where_a_rule_names_something_in_it() -> None:
    """A mapping of which one key is allowed: that key, and each other one."""
    thing = Unexplained(("metadata", "annotations"), {"x/y": "1", "z": "2"})

    parts = conflicts.parted([thing], [parse('metadata.annotations["x/y"]')])

    assert [part.path[-1] for part in parts] == ["x/y", "z"]
    assert conflicts.parted([thing], [parse("data.a")]) == (thing,)


@pytest.mark.parametrize(
    ("field", "is_covered"),
    [(".data.a", True), (".data.a.b", True), ('.data.a[name="x"]', True), (".data.ab", False), (".data", False)],
)
def test_a_conflict_is_covered_by_its_own_field_alone(field: str, is_covered: bool) -> None:
    """A longer name that begins alike is another field, and a whole is more than a part of it."""
    assert conflicts.covered(field, [".data.a"]) is is_covered
