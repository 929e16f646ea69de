"""What a plan tells: the tree, the page, the JSON, bounded whatever its size."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest

from interlock.cd import plan_file, plan_report
from interlock.cd.plan import Action, FieldChange, Plan, PlanItem
from interlock.cd.reports import drift_report, refusal_report
from interlock.cli import output
from interlock.contract.render import Identity, Origin
from interlock.contract.report import Branch
from interlock.contract.sources import ValuePlace
from interlock.errors import FormatError, Refused

MADE = Origin("templates/service/deployment.yaml.j2", 9, "values.replicas | default(1)")
REPLICAS = FieldChange(
    "spec.replicas",
    "3",
    "2",
    "kubectl-scale",
    "2030-01-02T03:04:05Z",
    "drift",
    operation="Update",
    origin=MADE,
    values=(ValuePlace("values.replicas", "environments/dev/web/values.yaml", 1),),
)
LONG = FieldChange("data.a", "x" * 60, None, "", "", "removed")


def _item(
    kind: str, name: str, action: Action, *fields: FieldChange, application: str = "web", **more: Any
) -> PlanItem:
    return PlanItem(Identity("", kind, "shop", name), action, fields=fields, application=application, **more)


PLAN = Plan(
    "dev",
    "c" * 40,
    (
        _item("ConfigMap", "new", Action.CREATE, origin=Origin("environments/dev/web/manifests/a.yaml", 1)),
        _item("Deployment", "web", Action.CHANGE, REPLICAS, drift=True, reason="scaled"),
        _item("ConfigMap", "c", Action.CHANGE, LONG),
        _item("ConfigMap", "old", Action.PRUNE, application="api"),
        _item("Pod", "p", Action.FOREIGN, application="", reason="not in Git, not ours", manager="eve", time="2030"),
        _item("RoleBinding", "r", Action.FOREIGN, application="", reason="not in Git, not ours"),
        _item("Service", "s", Action.BLOCKED, reason="spec.ports: required", application="zoo"),
        *(_item("ConfigMap", f"same{n}", Action.UNCHANGED) for n in range(3)),
    ),
    notes=("Widget cannot be read: forbidden",),
)


def test_a_plan_that_changes_nothing_says_why_it_differs() -> None:
    """Where all that is not as Git says is foreign; not where a sync would change something, is stopped, or all is."""
    foreign, same = PLAN.having(Action.FOREIGN), PLAN.having(Action.UNCHANGED)

    told = plan_report.untouched(replace(PLAN, items=(*foreign, *same)))
    assert told.startswith("a sync would change no object, but 2 are not as Git says (2 foreign): exit code 1. ")
    assert "allowed_objects" in told
    assert plan_report.untouched(replace(PLAN, items=same)) == ""
    for more in (Action.CHANGE, Action.BLOCKED):
        assert plan_report.untouched(replace(PLAN, items=(*foreign, *PLAN.having(more)))) == ""


def test_what_matters_comes_first() -> None:
    """What stops, drift, deletions, foreign objects by what they could do, changes, new ones; each with its why."""
    assert (
        output.indented(plan_report.report(PLAN).tree)
        == """\
zoo: 1 blocked
  ! blocked Service/shop/s: spec.ports: required
web: 1 to create, 2 to change
  ~ change Deployment/shop/web: scaled
    spec.replicas: 3 → 2 (drift)
      by kubectl-scale (Update, 2030-01-02T03:04:05Z)
      templates/service/deployment.yaml.j2:9 ← values.replicas (environments/dev/web/values.yaml:1)
  ~ change ConfigMap/shop/c
    data.a (foreign, goes)
      live: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      then: nothing
  + create ConfigMap/shop/new
    environments/dev/web/manifests/a.yaml:1
api: 1 to prune
  - prune ConfigMap/shop/old
not in Git: 2 foreign
  ? foreign RoleBinding/shop/r: not in Git, not ours
  ? foreign Pod/shop/p: not in Git, not ours
    by eve, since 2030"""
    )


def test_the_page_begins_with_the_summary() -> None:
    """Counts in the title, then applications, objects, fields; unchanged ones are only counted."""
    found = plan_report.report(PLAN)
    assert found.title == "Plan for dev at cccccccccccc: 1 to create, 2 to change, 1 to prune, 2 foreign, 1 blocked"
    assert found.markdown.startswith("Commit `cccccccccccc`. 3 objects are as they should be.\n- note: ")
    applications, objects, fields = found.tables
    assert [row[0] for row in applications.rows] == ["zoo", "web", "api", "not in Git"]
    assert [row[2].rpartition("/")[2] for row in objects.rows] == ["s", "web", "old", "r", "p", "c", "new"]
    assert fields.rows[0][5:] == ("kubectl-scale (Update, 2030-01-02T03:04:05Z)", plan_report.made_by(REPLICAS))


def _large(applications: int, objects: int) -> Plan:
    field = replace(REPLICAS, live="x" * 240, desired="y" * 240)
    items = (
        _item("ConfigMap", f"c{n}", Action.CHANGE, *[field] * 30, application=f"app-{a}", reason="r" * 200)
        for a in range(applications)
        for n in range(objects)
    )
    return replace(PLAN, items=tuple(items), notes=("note " * 50,) * 500)


def test_a_large_plan_is_bounded_and_counts_the_rest() -> None:
    """A thousand applications fit into a comment on a pull request; with `--all` the tree has every object."""
    plan = _large(1000, 4)
    found = plan_report.report(plan)
    assert len(f"# {found.title}\n\n{found.body}") < 65_536
    assert found.tree[-1].text == "… and 3950 more objects of 988 applications: 3950 to change"
    assert found.tree[0].below[0].below[-1].text == "… and 10 more fields"
    assert _objects(found.tree) == plan_report.MOST_OBJECTS
    assert _objects(plan_report.report(plan, most=None).tree) == 4000


def _objects(tree: tuple[Branch, ...]) -> int:
    return sum(branch.text.startswith("~ change") for root in tree for branch in root.below)


def _document(plan: Plan) -> Any:
    data = json.loads(json.dumps(plan_report.report(plan).data))
    return [{"report": "plan", "title": "t", "data": data}, {"report": "other", "title": "", "data": None}]


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, items=()), _large(2, 2)])
def test_a_plan_fits_its_published_schema(plan: Plan) -> None:
    """As JSON, and read again it is the same."""
    document = _document(plan)
    validator = jsonschema_rs.validator_for(plan_file.schema())
    validator.validate(document)
    assert plan_file.read(json.dumps(document), path="p") == plan_file.of(plan)


@pytest.mark.parametrize("bad", [{"format": 2}, {"more": 1}, {"items": [{"kind": "x"}]}, {"commit": None}])
def test_the_schema_is_not_that_of_anything(bad: dict[str, Any]) -> None:
    """Another form, an unknown field, half an item: not even as another report."""
    document = _document(PLAN)
    document[0]["data"] |= bad
    assert not jsonschema_rs.validator_for(plan_file.schema()).is_valid(document)


def test_unchanged_objects_are_not_in_the_document() -> None:
    """They are counted: a plan of many has the size of what it tells."""
    data = plan_file.of(PLAN)
    assert len(data.items) == 7
    assert data.counts["unchanged"] == 3


def test_a_file_that_is_wrong_is_mended_by_another_commit() -> None:
    """A format error asks for a commit that corrects it, and only a refused commit for going back."""
    wrong = refusal_report("dev", FormatError("must be a list", path="a.yaml", line=3), verified="c" * 40)
    refused = refusal_report("dev", Refused("it is not signed", rule="unsigned"), verified="c" * 40)
    assert "push a commit that mends it" in wrong.body
    assert "bring the branch back" in refused.body


def test_drift_is_a_tree_on_a_terminal() -> None:
    """An object, its fields, and below each who made it so: nothing that a narrow window would cut."""
    change = FieldChange("spec.replicas", "1", "0", "kubectl-edit", "2026-01-02T03:04:05Z", "drift")
    items = (
        PlanItem(Identity("apps", "Deployment", "shop", "web"), Action.CHANGE, fields=(change,), drift=True),
        PlanItem(Identity("", "ConfigMap", "shop", "alien"), Action.FOREIGN, manager="kubectl"),
    )
    found = drift_report(Plan("dev", "c" * 40, items), undo=True, found_at="2026-01-02T03:05:00Z")
    assert output.indented(found.tree) == (
        "Deployment/shop/web\n"
        "  spec.replicas: 0 in Git, 1 in the cluster: undone\n"
        "    by kubectl-edit, since 2026-01-02T03:04:05Z\n"
        "ConfigMap/shop/alien\n"
        "  whole object: — in Git, exists in the cluster: foreign\n"
        "    by kubectl, since before 2026-01-02T03:05:00Z"
    )
