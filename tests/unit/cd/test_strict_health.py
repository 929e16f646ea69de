"""Health rules of older commits judge what the newest one changes."""

from __future__ import annotations

import pytest

from interlock.cd.strict_health import Strict, differing
from interlock.contract.health import HealthRule, HealthRules
from interlock.contract.manifest import Identity

GROUP = "example.org"
CHANGED = Identity(GROUP, "Widget", "shop", "w")
BODY = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"namespace": "shop", "name": "w"}, "size": 2}


def rules(healthy: str = "", *, failed: str = "", kind: str = "Widget") -> HealthRules:
    return HealthRules((HealthRule("r", GROUP, kind, healthy, failed=failed),) if healthy else ())


def state(newest: HealthRules, *older: HealthRules, changed: bool = True) -> str:
    judge = Strict(newest, older, {CHANGED} if changed else set()).of(GROUP, "Widget")
    verdict = judge.judge(BODY) if judge else None
    return verdict.state if verdict else "nothing"


@pytest.mark.parametrize(
    ("newest", "older", "expected"),
    [
        (rules("true"), rules("true"), "healthy"),
        (rules("true"), rules("false"), "progressing"),
        (rules("false"), rules("true"), "progressing"),
        (rules("true"), rules("false", failed="object.size > 1"), "failed"),
        (rules("true"), rules("object.nothing"), "unknown"),
        (rules("true"), rules(), "healthy"),
        (rules(), rules("false"), "progressing"),
    ],
)
def test_the_worst_verdict_counts_for_what_a_commit_changes(
    newest: HealthRules, older: HealthRules, expected: str
) -> None:
    """Also when the newest has no rule any more; a kind that had none has the newest alone."""
    assert state(newest, older) == expected


def test_what_a_commit_leaves_as_it_was_has_its_own_rule_alone() -> None:
    """So a wrong rule can be mended; without a rule the object is judged as any other custom resource."""
    assert state(rules("true"), rules("false"), changed=False) == "healthy"
    assert state(rules(), rules("false"), changed=False) == "nothing"


def test_only_rules_that_say_something_else_are_asked() -> None:
    """Of the kinds that there are."""
    kinds = {(GROUP, "Widget")}
    assert differing([rules("true"), rules()], rules("true"), kinds) == ()
    assert differing([rules("false")], rules("true"), kinds) == (rules("false"),)
    assert differing([rules("false", kind="Other")], rules("true"), kinds) == ()
