"""Which kinds an admission webhook or policy of the cluster may judge: only the server can say what those think.

Read from `admissionregistration.k8s.io`. Match conditions and selectors of objects are not looked at: they may match.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.cd.objects import Body, Resource
from interlock.contract.workloads import mapping

GROUP = "admissionregistration.k8s.io"
CONFIGURATIONS = (
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
)


@dataclass(frozen=True)
class Rule:
    """What one rule is about; `*` stands for all. Whatever version it names, it may be asked about the others too."""

    groups: frozenset[str]
    resources: frozenset[str]

    def matches(self, resource: Resource) -> bool:
        group = bool({"*", resource.group} & self.groups)
        return group and bool({"*", "*/*", resource.plural} & self.resources)


@dataclass(frozen=True)
class Admission:
    """What may judge objects in a cluster: webhook configurations and policies. Not `known` when nobody lets us read
    them.
    """

    rules: tuple[Rule, ...] = ()
    known: bool = True
    bodies: tuple[Body, ...] = ()

    def without(self, policies: Collection[str]) -> Admission:
        """But for the policies of these names, which let us pass."""
        if not policies:
            return self
        rest = [
            each
            for each in self.bodies
            if each["kind"] != "ValidatingAdmissionPolicy" or each["metadata"]["name"] not in policies
        ]
        return replace(admission(rest), known=self.known)

    def may_judge(self, resource: Resource) -> bool:
        return any(rule.matches(resource) for rule in self.rules)


def admission(configurations: Iterable[Body]) -> Admission:
    """The rules about new and changed objects among these webhook configurations and policies."""
    bodies = tuple(configurations)
    found = [rule for body in bodies for rule in _rules(body)]
    rules = tuple(_rule(each) for each in found if {"*", "CREATE", "UPDATE"} & set(each.get("operations") or ()))
    return Admission(rules, bodies=bodies)


def reaches(body: Body, namespaces: Iterable[Mapping[str, str]], kinds: Collection[Resource]) -> bool:
    """Whether one of a configuration's webhooks, or a policy, is asked about such kinds in one of the namespaces, each
    given by its labels.
    """
    spaces = tuple(namespaces)
    return any(
        any(_selects(part.get("namespaceSelector"), labels) for labels in spaces)
        and any(_inside(rule) and _rule(rule).matches(kind) for rule in rules for kind in kinds)
        for part, rules in _parts(body)
    )


def _parts(body: Body) -> Iterator[tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]]:
    """What selects namespaces, with its rules."""
    for webhook in body.get("webhooks") or ():
        yield webhook, tuple(webhook.get("rules") or ())
    if constraints := mapping(body, ("spec", "matchConstraints")):
        yield constraints, tuple(constraints.get("resourceRules") or ())


def _inside(rule: Mapping[str, Any]) -> bool:
    return rule.get("scope", "*") != "Cluster" and set(rule.get("operations") or ()) != {"CONNECT"}


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """As a LabelSelector is defined; nothing selects everything, and so may what we do not know."""
    wanted = (selector or {}).get("matchLabels") or {}
    expressions = (selector or {}).get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(each, labels) for each in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True


def _rules(body: Body) -> Iterator[Mapping[str, Any]]:
    for _, rules in _parts(body):
        yield from rules


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(frozenset(rule.get("apiGroups") or ()), frozenset(rule.get("resources") or ()))
