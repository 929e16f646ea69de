"""What RBAC has to allow for a plan, what it does allow, and the Role that is missing. Pure: who asks is `tasks.cd`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from interlock.cd.control import (
    ACCOUNT,
    VERBS_WIDE,
    Subject,
    control_manifests,
    extra_role,
    role_name,
    subject_of,
    verbs_inside,
)
from interlock.cd.objects import Body, Resource
from interlock.cd.plan import Action, Plan, PlanItem

_NONE = frozenset({Action.UNCHANGED, Action.FOREIGN, Action.CONFLICT})


@dataclass(frozen=True, order=True)
class Need:
    """One right: a verb on a kind, in a namespace, or on one object or all objects of a kind that has none."""

    namespace: str
    group: str
    kind: str
    plural: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.plural}.{self.group}".rstrip(".")
        return f"{self.verb} {kind} {self.where}"

    @property
    def where(self) -> str:
        """`in shop`, `named shop`, or `in the whole cluster`."""
        if self.namespace and self.name:
            return f"{self.name} in {self.namespace}"
        if self.namespace:
            return f"in {self.namespace}"
        return f"named {self.name}" if self.name else "in the whole cluster"

    @property
    def attributes(self) -> Body:
        """As a SubjectAccessReview asks for it."""
        resource, _, part = self.plural.partition("/")
        found = {"namespace": self.namespace, "group": self.group, "resource": resource, "verb": self.verb}
        return found | ({"subresource": part} if part else {}) | ({"name": self.name} if self.name else {})

    def concerns(self, item: PlanItem) -> bool:
        """Whether the item cannot be brought about without it."""
        identity = item.identity
        same = (self.group, self.kind, self.namespace) == (identity.group, identity.kind, identity.namespace)
        return same and self.name in {"", identity.name} and self.verb in _verbs(item) - {"watch"}


@dataclass(frozen=True)
class Lacking:
    """The rights that `username`, who we are for the API server, does not have."""

    username: str
    needs: tuple[Need, ...]


def needs(plan: Plan, resources: Mapping[tuple[str, str], Resource]) -> tuple[Need, ...]:
    """What the plan's writes ask for, those of its objects that are blocked, perhaps for want of just that, and what it
    could not look at. `resources` are kinds as they are served.
    """
    found: set[Need] = set()
    for item in plan.items:
        resource = resources.get((item.identity.group, item.identity.kind))
        if resource is None or item.action in _NONE:
            continue
        namespace, name = item.identity.namespace, "" if resource.namespaced else item.identity.name
        found |= {_need(resource, namespace, verb, name) for verb in _verbs(item)}
    for unseen in plan.unseen:
        if resource := resources.get((unseen.group, unseen.kind)):
            found.add(_need(resource, unseen.namespace, "list"))
    return tuple(sorted(found))


def control_needs(username: str, control_namespace: str) -> tuple[Need, ...]:
    """What who asks needs in the control namespace: just what he is given there."""
    subject = subject_of(username)
    account = subject == Subject("ServiceAccount", ACCOUNT, control_namespace)
    bodies = control_manifests(control_namespace=control_namespace, namespaces=(), subject=None if account else subject)
    name = role_name(control_namespace)
    (role,) = (body for body in bodies if body["kind"] == "Role" and body["metadata"]["name"] == name)
    return tuple(
        sorted(
            Need(control_namespace, group, "", plural, verb, named)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for plural in rule["resources"]
            for verb in rule["verbs"]
            for named in rule.get("resourceNames") or ("",)
        )
    )


def _need(resource: Resource, namespace: str, verb: str, name: str = "") -> Need:
    return Need(namespace, resource.group, resource.kind, resource.plural, verb, name)


def _verbs(item: PlanItem) -> frozenset[str]:
    """An apply of an object that does not live yet needs both `create` and `patch`."""
    identity = item.identity
    every = frozenset(verbs_inside(identity.group, identity.kind) if identity.namespace else VERBS_WIDE)
    if item.action == Action.PRUNE:
        return every - {"watch", "create", "delete" if item.release else "patch"}
    spared = frozenset() if item.recreated else frozenset({"delete"}) if not item.uid else {"create", "delete"}
    return every - spared


def forbidden(plan: Plan, lacking: Lacking) -> Plan:
    """The plan with every object blocked that asks for a right that is lacking."""
    return replace(plan, items=tuple(_forbidden(item, lacking) for item in plan.items))


def _forbidden(item: PlanItem, lacking: Lacking) -> PlanItem:
    lack = [] if item.action in _NONE else [str(need) for need in lacking.needs if need.concerns(item)]
    reason = f"{lacking.username} may not {' or '.join(lack)}: the report `permissions` has the command that gives it"
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


def missing_roles(lacking: Lacking, control_namespace: str) -> tuple[Body, ...]:
    """A Role and its binding for each namespace, and one for what is in none; for whom asks, and for the account that
    runs write with.
    """
    subject = subject_of(lacking.username)
    writer = Subject("ServiceAccount", ACCOUNT, control_namespace)
    subjects = (subject,) if subject == writer else (subject, writer)
    inside: dict[str, list[Need]] = {}
    for need in sorted(lacking.needs):
        inside.setdefault(need.namespace, []).append(need)
    return tuple(
        body
        for namespace, wanted in inside.items()
        for body in extra_role(control_namespace, namespace, _rules(wanted), subjects)
    )


def _rules(wanted: Sequence[Need]) -> list[Body]:
    """One rule for all kinds of a group that the same verbs are missing for, of the same objects."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for need in wanted:
        verbs.setdefault((need.group, need.plural, need.name), []).append(need.verb)
    kinds: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, plural, name), names in verbs.items():
        kinds.setdefault((group, name, tuple(names)), []).append(plural)
    return [
        {"apiGroups": [group], "resources": plurals, "verbs": list(names)} | ({"resourceNames": [name]} if name else {})
        for (group, name, names), plurals in kinds.items()
    ]
