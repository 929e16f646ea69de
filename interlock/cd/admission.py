"""Which kinds an admission webhook or policy of the cluster may judge: only the server can say what those think.

Read from `admissionregistration.k8s.io`. Selectors and match conditions are not looked at: they may match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.cd.objects import Body, Resource

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
    """The rules of a cluster. Not `known` when nobody lets us read them."""

    rules: tuple[Rule, ...] = ()
    known: bool = True

    def may_judge(self, resource: Resource) -> bool:
        return any(rule.matches(resource) for rule in self.rules)


def admission(configurations: Iterable[Body]) -> Admission:
    """The rules about new objects among these webhook configurations and policies."""
    found = [rule for body in configurations for rule in _rules(body)]
    return Admission(tuple(_rule(each) for each in found if {"*", "CREATE"} & set(each.get("operations") or ())))


def _rules(body: Body) -> Iterable[Mapping[str, Any]]:
    for webhook in body.get("webhooks") or ():
        yield from webhook.get("rules") or ()
    constraints = (body.get("spec") or {}).get("matchConstraints") or {}
    yield from constraints.get("resourceRules") or ()


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(frozenset(rule.get("apiGroups") or ()), frozenset(rule.get("resources") or ()))
