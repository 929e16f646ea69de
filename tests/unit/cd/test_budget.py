"""How much one sync may do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock.cd import budget
from interlock.cd.budget import Weight
from interlock.cd.guards import PROTECTED, Guards
from interlock.cd.objects import Body
from interlock.cd.plan import Action, FieldChange, PlanItem
from interlock.contract import strict_yaml
from interlock.contract.models import Budget, EnvironmentFile
from interlock.contract.render import Identity
from tests.unit.cd.bodies import scope

WEB = Identity("apps", "Deployment", "shop", "web")


def _items(count: int, action: Action = Action.PRUNE) -> list[PlanItem]:
    return [PlanItem(Identity("", "ConfigMap", "shop", f"c{n}"), action, uid=f"u{n}") for n in range(count)]


def _over(weight: Weight, **given: Any) -> tuple[str, ...]:
    return budget.excess(weight, Guards(budget=Budget(**given)))


@pytest.mark.parametrize(
    ("deletes", "owned", "given", "over"),
    [
        (10, 10, {}, False),
        (11, 20, {}, True),
        (11, 40, {}, False),
        (13, 40, {}, True),
        (1, 100, {"deletes": 0}, True),
        (30, 100, {"share": 30}, False),
        (31, 100, {"share": 30}, True),
        (9, 10, {"share": 30}, True),
        (9, 10, {"deletes": 9, "share": 30}, False),
        (0, 0, {"deletes": 0}, False),
    ],
)
def test_deletions_are_held_against_count_and_share(
    deletes: int, owned: int, given: dict[str, int], over: bool
) -> None:
    """Ten or 30 % where nothing is said; what is said alone counts alone, of both the larger one."""
    assert bool(_over(Weight(owned, deletes=deletes), **given)) == over


def test_no_commit_raises_the_budget_that_it_is_judged_by() -> None:
    """That of the commits before holds as well, and so do the kinds that they protect; a smaller one holds at once."""
    before = _environment(budget={"deletes": 2, "restarts": 1}, protected=["Secret"])
    now = Guards.of(_environment(budget={"deletes": 20}, protected=["ConfigMap"])).held_to([before, before])
    weight = Weight(100, deletes=3, restarts=2)

    assert budget.excess(weight, now) == (
        "3 of 100 objects would be deleted; the budget until this commit is 2",
        "2 workloads would replace their pods; the budget until this commit is 1",
    )
    assert {("", "Secret"), ("", "ConfigMap"), *PROTECTED} == now.protected
    lowered = Guards.of(_environment(budget={"deletes": 1})).held_to([before])
    assert "the budget is 1" in budget.excess(weight, lowered)[0]
    assert not Guards.of(before).held_to([before]).older


def _environment(**more: object) -> EnvironmentFile:
    text = strict_yaml.dump({"format": 1, "cluster": "sandbox", "namespaces": ["shop"], "id": "e" * 12, **more})
    return strict_yaml.parse(text, EnvironmentFile, path="environment.yaml")


def test_an_excess_has_its_numbers() -> None:
    """How many of how many, and what the budget is."""
    assert _over(Weight(20, deletes=12)) == ("12 of 20 objects would be deleted; the budget is 10 or 30 %",)
    weight = Weight(100, objects=9, dependants=101, replicas=3, restarts=2, kinds={"Secret": 2})
    assert _over(weight, objects=8, replicas=2, restarts=1, kinds={"Secret": 1}) == (
        "9 objects would be written; the budget is 8",
        "101 dependants would go with what is deleted; the budget is 100",
        "3 pods would be taken away; the budget is 2",
        "2 workloads would replace their pods; the budget is 1",
        "2 objects of the kind Secret would be deleted; the budget is 1",
    )


def _body(identity: Identity, uid: str, *owners: str, replicas: int | None = None) -> Body:
    metadata = {"name": identity.name, "uid": uid, "ownerReferences": [{"uid": each} for each in owners]}
    return {"metadata": metadata, "spec": {} if replicas is None else {"replicas": replicas}}


def test_dependants_are_what_goes_along() -> None:
    """Replica sets and pods by their owners, all that is in a namespace, and nothing that has another owner too."""
    replica_set, pod = Identity("apps", "ReplicaSet", "shop", "web-1"), Identity("", "Pod", "shop", "web-1-a")
    shared, away = Identity("", "ConfigMap", "shop", "shared"), Identity("", "Secret", "gone", "s")
    live = {
        WEB: _body(WEB, "w", replicas=3),
        pod: _body(pod, "p", "r"),
        replica_set: _body(replica_set, "r", "w"),
        shared: _body(shared, "s", "w", "elsewhere"),
        away: _body(away, "a"),
    }
    deleted = [PlanItem(WEB, Action.PRUNE, uid="w"), PlanItem(Identity("", "Namespace", "", "gone"), Action.PRUNE)]
    assert budget.dependants(deleted, live) == {replica_set, pod, away}
    assert budget.weigh(deleted, live, owned=2) == Weight(
        2, objects=2, deletes=2, dependants=3, replicas=3, kinds={"Deployment.apps": 1, "Namespace": 1}
    )


def test_all_of_a_kind_goes_with_its_definition() -> None:
    """Whosever they are, as far as they are seen."""
    definition = Identity("apiextensions.k8s.io", "CustomResourceDefinition", "", "widgets.example.org")
    widget = Identity("example.org", "Widget", "shop", "w")
    spec = {"group": "example.org", "names": {"kind": "Widget"}}
    live = {definition: {"metadata": {"uid": "d"}, "spec": spec}, widget: _body(widget, "w")}
    assert budget.dependants([PlanItem(definition, Action.PRUNE, uid="d")], live) == {widget}


@pytest.mark.parametrize("spec", [None, [], "text", {"replicas": "many"}])
def test_a_custom_resource_may_have_any_spec(spec: object) -> None:
    """What is no number of replicas is none."""
    body = {"metadata": {"uid": "w"}, "spec": spec}
    assert budget.weigh([PlanItem(WEB, Action.PRUNE, uid="w")], {WEB: body}, owned=1).replicas == 0


def test_scaling_down_and_new_pods_are_counted() -> None:
    """A workload's new template replaces its pods; fewer replicas take pods away, more do not."""
    fields = (
        FieldChange("spec.replicas", "5", "2", "", "", "change"),
        FieldChange("spec.template.spec.containers[name=web].image", "a", "b", "", "", "change"),
    )
    weight = budget.weigh([PlanItem(WEB, Action.CHANGE, fields=fields)], {}, owned=1)
    assert (weight.replicas, weight.restarts, weight.deletes) == (3, 1, 0)
    up = (FieldChange("spec.replicas", "2", "5", "", "", "change"),)
    assert budget.weigh([PlanItem(WEB, Action.CHANGE, fields=up)], {}, owned=1).replicas == 0


def test_what_is_let_go_is_no_deletion() -> None:
    """It stays in the cluster."""
    item = PlanItem(WEB, Action.PRUNE, uid="w", release=True)
    assert budget.weigh([item], {WEB: _body(WEB, "w", replicas=3)}, owned=1) == Weight(1, objects=1, kinds={})


def test_an_allowance_holds_for_its_changes_alone() -> None:
    """The mark is of the objects, whatever the commit; one object more, and it does not hold."""
    items = _items(12)
    judged = budget.judged(items, {}, scope(), owned=12)
    assert judged.over
    allowed = Guards(allowed=judged.mark)
    again = budget.judged(items, {}, scope(commit="d" * 40, guards=allowed), owned=12)
    assert (again.over, again.notes) == (
        (),
        ("allowed by environment.yaml: 12 of 12 objects would be deleted; the budget is 10 or 30 %",),
    )
    more = _items(13)
    assert budget.judged(more, {}, scope(guards=allowed), owned=13).over


def test_the_mark_of_a_secrets_change_is_the_same_in_every_run() -> None:
    """Masks are drawn anew for each run; what stands for them is the object's version."""
    one, other = (FieldChange("data.a", f"•••• {key}0", f"•••• {key}1", "", "", "change") for key in "ab")
    item = PlanItem(Identity("", "Secret", "shop", "s"), Action.CHANGE, fields=(one,), version="7")
    assert budget.mark([item], "e") == budget.mark([replace(item, fields=(other,))], "e")
    assert budget.mark([item], "e") != budget.mark([replace(item, version="8")], "e")


def test_what_is_left_of_allowed_changes_goes_on() -> None:
    """After a crash the rest has another mark; what came since is held against the budget by itself."""
    begun = _items(14)
    allowed = Guards(allowed=budget.mark(begun, "e" * 12))
    at = scope(environment_id="e" * 12, guards=allowed)
    covered = budget.judged(begun, {}, at, owned=14).covered
    again = replace(at, covered=covered)
    left = begun[2:]

    assert len(covered) == 14
    assert budget.judged(left, {}, again, owned=14).over == ()
    assert budget.judged(left, {}, again, owned=14).covered == covered
    assert budget.judged(left, {}, at, owned=14).over
    few = [*left, *_items(17)[14:]]
    assert budget.judged(few, {}, again, owned=17).over == ()
    many = [*left, *_items(40)[14:]]
    assert budget.judged(many, {}, again, owned=40).over == (
        "26 of 40 objects would be deleted; the budget is 10 or 30 %",
        "what came after the changes that `allow` is of is not allowed",
    )
    made_again = [replace(item, uid=f"other{n}") for n, item in enumerate(left)]
    assert budget.judged(made_again, {}, again, owned=14).over


def test_a_tombstone_deletes_nothing_without_an_allowance() -> None:
    """However few objects there are."""
    items = _items(1)
    assert budget.judged(items, {}, scope(guards=Guards(removed=True)), owned=1).over == (
        "1 of 1 objects would be deleted: the environment is to be removed",
    )


def test_a_chain_of_owners_costs_no_more_than_its_length() -> None:
    """Whoever may make objects may chain them: each is looked at once, and all go with the first."""
    chain = [Identity("", "ConfigMap", "shop", f"c{n}") for n in range(5_000)]
    live = {
        each: {"metadata": {"uid": f"u{n}", "ownerReferences": [{"uid": f"u{n - 1}"}] if n else []}}
        for n, each in reversed([*enumerate(chain)])
    }

    assert budget.dependants([PlanItem(chain[0], Action.PRUNE, uid="u0")], live) == set(chain[1:])
