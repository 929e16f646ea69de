"""Reading a plan's file."""

from __future__ import annotations

import json

import pytest

from interlock.cd import plan_file, reviewed
from interlock.cd.plan import Action, FieldChange, Plan, PlanItem
from interlock.contract.render import Identity
from interlock.errors import Blocked, FormatError

PLAN = Plan("dev", "c" * 40, (PlanItem(Identity("", "ConfigMap", "shop", "c"), Action.CREATE),))


def text(plan: Plan = PLAN) -> str:
    return json.dumps([{"report": "plan", "title": "", "data": plan_file.of(plan).model_dump(mode="json")}])


def test_a_plan_is_itself() -> None:
    """Through the file and back."""
    found = reviewed.read(text(), path="plan.json")

    reviewed.require_same(found, PLAN)

    assert (found.digest, found.lines) == (PLAN.digest, ("create ConfigMap/shop/c",))


@pytest.mark.parametrize(
    "bad", ["", "{", "[]", "{}", '[{"report": "plan"}]', '[{"report": "plan", "data": {"format": 1, "items": 1}}]']
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


@pytest.mark.parametrize("form", [2, "1", None])
def test_a_plan_of_another_form_is_refused(form: object) -> None:
    """By its number, before anything else of it is read."""
    data = json.loads(text())[0]["data"] | {"format": form, "more": "of the future"}
    with pytest.raises(FormatError, match=r"^plan.json: this is a plan of format .*reads format 1"):
        reviewed.read(json.dumps([{"report": "plan", "title": "", "data": data}]), path="plan.json")


def _of_secret(version: str, mask: str) -> Plan:
    field = FieldChange("data.a", f"•••• {mask}", f"•••• {mask[::-1]}", "", "", "change", masked=True)
    item = PlanItem(Identity("", "Secret", "shop", "s"), Action.CHANGE, fields=(field,), uid="u", version=version)
    return Plan("dev", "c" * 40, (item,))


def test_masks_of_two_runs_are_not_compared() -> None:
    """The same plan of a Secret is the same in another run; after a write to the Secret it is another."""
    looked_at = reviewed.read(text(_of_secret("7", "0a1b2c3d")), path="plan.json")
    reviewed.require_same(looked_at, _of_secret("7", "9f8e7d6c"))
    with pytest.raises(Blocked) as caught:
        reviewed.require_same(looked_at, _of_secret("8", "9f8e7d6c"))
    assert caught.value.reasons == (
        "new: change Secret/shop/s: data.a: •••• → •••• (of version 8)",
        "no more: change Secret/shop/s: data.a: •••• → •••• (of version 7)",
    )
