"""Health rules in CEL, judged in a process of their own."""

from __future__ import annotations

import pytest

from interlock.contract.health import HealthRule, HealthRules, Verdict
from tasks.cd.health_rules import Apart

RULE = HealthRule(
    "up", "example.org", "Widget", 'object.status.phase == "Up"', message='"it is " + object.status.phase'
)
GREEDY = HealthRule(
    "greedy", "example.org", "Greedy", '["' + "a" * 64 + '"]' + ".map(x, x+x+x+x)" * 14 + ".all(x, size(x) > 0)"
)


@pytest.fixture(scope="module")
def apart() -> Apart:
    return Apart(HealthRules((RULE, GREEDY)))


@pytest.mark.parametrize("body", [{"status": {"phase": "Up"}}, {"status": {"phase": "Going"}}, {}])
def test_the_process_says_what_the_rule_says(apart: Apart, body: dict[str, object]) -> None:
    """Healthy, in progress with the rule's message, or no answer: as here."""
    judged = apart.of("example.org", "Widget")
    assert judged is not None
    assert judged.judge(body) == RULE.judge(body)
    assert apart.of("example.org", "Other") is None


def test_an_expression_that_takes_any_memory_breaks_nothing(apart: Apart) -> None:
    """It is unknown, not healthy, and the next object is judged as ever."""
    greedy, other = apart.of("example.org", "Greedy"), apart.of("example.org", "Widget")
    assert greedy is not None
    assert other is not None
    verdict = greedy.judge({})
    assert verdict.state == "unknown"
    assert "memory" in verdict.reason
    assert other.judge({"status": {"phase": "Up"}}) == Verdict("healthy")


def test_a_message_and_an_object_of_any_size_are_judged() -> None:
    """What is said of an object is cut; what is nested too deeply for JSON is unknown."""
    deep: dict[str, object] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    long = HealthRule("long", "example.org", "Widget", "false", message="object.a + object.a")
    judged = Apart(HealthRules((long,))).of("example.org", "Widget")
    assert judged is not None
    assert len(judged.judge({"a": "ü" * 500_000}).reason) <= 500
    assert judged.judge(deep).state == "unknown"
