"""Which new objects are tried in a dry run, and which their schema is enough for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.cd.admission import Admission, admission
from interlock.cd.inventory import Inventory
from interlock.cd.objects import Resource
from interlock.cd.plan import Action, PlanItem, Scope, Wanted, wanted
from interlock.cd.proof import Proof, beside_refused, misfit, proofs
from interlock.contract.manifest import Identity, Manifest
from interlock.contract.schema import Problem, Schema
from interlock.contract.template import Origin

SCOPE = Scope("dev", "d" * 12, "c" * 40, "control", "x", undo=True, again=False, namespaces=("a", "b"))
ANY = Schema({})
STRICT = Schema({"properties": {"data": {"type": "object"}}})
PODS = Resource("", "v1", "Pod", "pods", True)
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", True)


def want(name: str, *, namespace: str = "a", kind: str = "ConfigMap", data: object = None) -> Wanted:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "data": data or {}}
    manifest = Manifest(body, "shop", {("data",): Origin("templates/x.yaml.j2", 7)})
    return wanted(manifest, None, Inventory({}), SCOPE)


def asked(*wants: Wanted, schema: Schema | None = ANY, judged: bool = False, everything: bool = False) -> list[str]:
    found = proofs(wants, schema=lambda _: schema, judged=lambda _: judged, everything=everything)
    return [each.identity.name for each in wants if found[each.identity].asked]


def test_the_first_of_a_kind_in_a_namespace_is_tried() -> None:
    """Admission and quota are of a namespace: one sample of each kind there, and no more."""
    wants = want("1"), want("2"), want("3", namespace="b"), want("4", kind="Pod"), want("5", kind="Pod")
    assert asked(*wants) == ["1", "3", "4"]


def test_all_are_tried_where_something_may_surprise() -> None:
    """Without a schema, with admission rules about the kind, or when somebody wants to be sure."""
    wants = want("1"), want("2")
    assert asked(*wants, schema=None) == ["1", "2"]
    ruled = Schema({"properties": {"spec": {"x-kubernetes-validations": [{"rule": "self.a > 1"}]}}})
    assert asked(*wants, schema=ruled) == ["1", "2"]
    assert asked(*wants, judged=True) == ["1", "2"]
    assert asked(*wants, everything=True) == ["1", "2"]


def test_what_does_not_fit_is_tried_and_is_no_sample() -> None:
    """The server has the last word on it, and another object stands for its kind."""
    wants = want("1", data=[1]), want("2"), want("3"), want("BAD")
    assert asked(*wants, schema=STRICT) == ["1", "2", "BAD"]


def test_when_a_sample_is_refused_the_others_are_asked() -> None:
    """A quota that is full would refuse each of them."""
    wants = want("1"), want("2"), want("3", namespace="b"), want("4", namespace="b")
    found = proofs(wants, schema=lambda _: ANY, judged=lambda _: False)
    items = {each.identity: PlanItem(each.identity, Action.CREATE) for each in wants}
    assert beside_refused(wants, found, items) == ()
    items[wants[0].identity] = PlanItem(wants[0].identity, Action.BLOCKED)
    assert beside_refused(wants, found, items) == (wants[1].identity,)


def test_a_refused_misfit_says_nothing_of_the_others() -> None:
    """What is wrong with one object alone costs no dry run of its neighbours."""
    wants = want("1"), want("2")
    found = {
        wants[0].identity: Proof((Problem(("data",), "wrong"),), asked=True),
        wants[1].identity: Proof((), asked=False),
    }
    items = {wants[0].identity: PlanItem(wants[0].identity, Action.BLOCKED)}
    items[wants[1].identity] = PlanItem(wants[1].identity, Action.CREATE)
    assert beside_refused(wants, found, items) == ()


def test_a_misfit_names_field_and_template_line() -> None:
    """Every problem, with the line of Git that made it."""
    item = misfit(want("1"), (Problem(("data", "a"), "must be text", "quote it"),))
    assert (item.action, item.identity) == (Action.BLOCKED, Identity("", "ConfigMap", "a", "1"))
    assert item.reason == "data.a: must be text (quote it) at templates/x.yaml.j2:7"


def hook(**rule: Any) -> Admission:
    rules = [{"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"], "apiVersions": ["v1"], **rule}]
    return admission([{"webhooks": [{"rules": rules}]}, {"webhooks": None}, {"spec": {}}, {}])


def test_a_webhook_judges_what_its_rules_name() -> None:
    """By group and resource, with stars; only rules about making and changing objects count."""
    assert (hook().may_judge(PODS), hook().may_judge(DEPLOYMENTS)) == (True, False)
    assert hook(apiGroups=["*"], resources=["*"]).may_judge(DEPLOYMENTS)
    assert hook(apiGroups=["*"], resources=["*/*"]).may_judge(DEPLOYMENTS)
    assert hook(operations=["*"]).may_judge(PODS)
    assert hook(operations=["DELETE", "UPDATE"]).may_judge(PODS)
    assert not hook(operations=["DELETE", "CONNECT"]).may_judge(PODS)
    assert not hook(resources=["pods/status"]).may_judge(PODS)


def test_an_admission_policy_judges_too() -> None:
    """ValidatingAdmissionPolicy and its mutating brother name their resources in matchConstraints."""
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]}]
    found = admission([{"spec": {"matchConstraints": {"resourceRules": rules}}}])
    assert (found.may_judge(PODS), found.may_judge(DEPLOYMENTS)) == (False, True)


def test_a_changed_object_stands_for_changed_ones_only() -> None:
    """Making and changing are two samples; a refused change has its like asked about, and no new object."""
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "1", "namespace": "a", "uid": "u"}}
    changes = [replace(want(name), live=live) for name in ("1", "2")]
    wants = [*changes, want("3"), want("4")]
    found = proofs(wants, schema=lambda _: ANY, judged=lambda _: False)
    assert [each.identity.name for each in wants if found[each.identity].asked] == ["1", "3"]
    items = {each.identity: PlanItem(each.identity, Action.CREATE) for each in wants}
    items[changes[0].identity] = PlanItem(changes[0].identity, Action.BLOCKED)
    assert beside_refused(wants, found, items) == (changes[1].identity,)
