"""What RBAC has to allow for a plan, what it does allow, and the Role that is missing. Pure: who asks is `tasks.cd`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from interlock.cd.control import ACCOUNT, Subject, extra_role
from interlock.cd.objects import Body, Resource
from interlock.cd.plan import Action, Plan, PlanItem

_ACCOUNT_PREFIX = "system:serviceaccount:"
_NONE = frozenset({Action.UNCHANGED, Action.FOREIGN, Action.CONFLICT})


@dataclass(frozen=True, order=True)
class Need:
    """One right: a verb on a kind, in a namespace, or on one object of a kind that has none."""

    namespace: str
    group: str
    kind: str
    plural: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.plural}.{self.group}".rstrip(".")
        return f"{self.verb} {kind} " + (f"in {self.namespace}" if self.namespace else f"named {self.name}")

    @property
    def attributes(self) -> Body:
        """As a SubjectAccessReview asks for it."""
        found = {"namespace": self.namespace, "group": self.group, "resource": self.plural, "verb": self.verb}
        return found | ({"name": self.name} if self.name else {})

    def concerns(self, item: PlanItem) -> bool:
        identity = item.identity
        same = (self.group, self.kind, self.namespace) == (identity.group, identity.kind, identity.namespace)
        return same and self.name in {"", identity.name} and self.verb in _verbs(item)


@dataclass(frozen=True)
class Lacking:
    """The rights that `username`, who we are for the API server, does not have."""

    username: str
    needs: tuple[Need, ...]


def needs(plan: Plan, resources: Mapping[tuple[str, str], Resource]) -> tuple[Need, ...]:
    """What the plan's writes ask for, and those of its objects that are blocked: perhaps for want of just that."""
    found: set[Need] = set()
    for item in plan.items:
        resource = resources.get((item.identity.group, item.identity.kind))
        if resource is None or item.action in _NONE:
            continue
        namespace, name = item.identity.namespace, "" if resource.namespaced else item.identity.name
        verbs = _verbs(item) if resource.namespaced else _verbs(item) - {"list"}
        found |= {Need(namespace, resource.group, resource.kind, resource.plural, verb, name) for verb in verbs}
    return tuple(sorted(found))


def _verbs(item: PlanItem) -> frozenset[str]:
    """An apply of an object that does not live yet needs both `create` and `patch`."""
    if item.action == Action.PRUNE:
        return frozenset({"get", "list", "delete"})
    return frozenset({"get", "list", "patch"}) | (frozenset() if item.uid else {"create"})


def forbidden(plan: Plan, lacking: Lacking) -> Plan:
    """The plan with every object blocked that asks for a right that is lacking."""
    return replace(plan, items=tuple(_forbidden(item, lacking) for item in plan.items))


def _forbidden(item: PlanItem, lacking: Lacking) -> PlanItem:
    lack = [] if item.action in _NONE else [str(need) for need in lacking.needs if need.concerns(item)]
    reason = f"{lacking.username} may not {' or '.join(lack)}: the report `permissions` has the Role that is missing"
    return replace(item, action=Action.BLOCKED, reason=reason) if lack else item


def allowed(need: Need, rules: Iterable[Body]) -> bool:
    """Whether one of the rules of a SelfSubjectRulesReview gives it."""
    return any(
        _has(rule, "verbs", need.verb)
        and _has(rule, "apiGroups", need.group)
        and _has(rule, "resources", need.plural)
        and (not (rule.get("resourceNames") or ()) or (need.name != "" and need.name in rule["resourceNames"]))
        for rule in rules
    )


def _has(rule: Body, part: str, value: str) -> bool:
    given = rule.get(part) or ()
    return "*" in given or value in given


def subject_of(username: str) -> Subject:
    """Whom to bind a Role to, by the name that the API server has for who asks."""
    if username.startswith(_ACCOUNT_PREFIX):
        namespace, _, name = username.removeprefix(_ACCOUNT_PREFIX).partition(":")
        return Subject("ServiceAccount", name, namespace)
    return Subject("User", username)


def missing_roles(lacking: Lacking, control_namespace: str) -> tuple[Body, ...]:
    """A Role and its binding for each namespace; for whom asks, and for the account that runs write with."""
    subject = subject_of(lacking.username)
    writer = Subject("ServiceAccount", ACCOUNT, control_namespace)
    subjects = (subject,) if subject == writer else (subject, writer)
    inside: dict[str, list[Need]] = {}
    for need in sorted(lacking.needs):
        if need.namespace:
            inside.setdefault(need.namespace, []).append(need)
    return tuple(
        body
        for namespace, wanted in inside.items()
        for body in extra_role(control_namespace, namespace, _rules(wanted), subjects)
    )


def _rules(wanted: Sequence[Need]) -> list[Body]:
    """One rule for all kinds of a group that the same verbs are missing for."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for need in wanted:
        verbs.setdefault((need.group, need.plural), []).append(need.verb)
    kinds: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), names in verbs.items():
        kinds.setdefault((group, tuple(names)), []).append(plural)
    return [
        {"apiGroups": [group], "resources": plurals, "verbs": list(names)} for (group, names), plurals in kinds.items()
    ]
