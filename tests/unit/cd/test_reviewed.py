"""Reading a plan's file."""

from __future__ import annotations

import json

import pytest

from interlock.cd import reports, reviewed
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract.render import Identity
from interlock.errors import Blocked, FormatError

PLAN = Plan("dev", "c" * 40, (PlanItem(Identity("", "ConfigMap", "shop", "c"), Action.CREATE),))


def text(plan: Plan = PLAN) -> str:
    return json.dumps([{"report": "plan", "title": "", "data": reports.plan_data(plan)}])


def test_a_plan_is_itself() -> None:
    """Through the file and back."""
    found = reviewed.read(text(), path="plan.json")

    reviewed.require_same(found, PLAN)

    assert (found.digest, found.lines) == (PLAN.digest, ("create ConfigMap/shop/c",))


@pytest.mark.parametrize(
    "bad", ["", "{", "[]", "{}", '[{"report": "plan"}]', '[{"report": "plan", "data": {"items": 1}}]']
)
def test_another_file_is_told_from_a_plan(bad: str) -> None:
    """One error with the file's name, and how to make a plan."""
    with pytest.raises(FormatError, match=r"^plan.json: this is not a plan"):
        reviewed.read(bad, path="plan.json")


def test_a_plan_of_another_environment_is_no_plan_of_this_one() -> None:
    """Whatever else it says."""
    other = reviewed.read(text(Plan("prod", "c" * 40, PLAN.items)), path="plan.json")
    with pytest.raises(Blocked) as caught:
        reviewed.require_same(other, PLAN)
    assert caught.value.reasons == ("it is a plan of environment prod",)
