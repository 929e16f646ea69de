"""Who else may write in an environment's control namespace, by the cluster's own roles and bindings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from interlock.cd.control import ACCOUNT
from interlock.cd.objects import Body

_READS = frozenset({"get", "list", "watch"})
KINDS: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {
            "configmaps",
            "secrets",
            "serviceaccounts",
            "serviceaccounts/token",
            "pods",
            "pods/attach",
            "pods/ephemeralcontainers",
            "pods/exec",
            "replicationcontrollers",
        }
    ),
    "apps": frozenset({"daemonsets", "deployments", "replicasets", "statefulsets"}),
    "batch": frozenset({"cronjobs", "jobs"}),
    "coordination.k8s.io": frozenset({"leases"}),
    "rbac.authorization.k8s.io": frozenset({"rolebindings", "roles"}),
}
"""By group: what holds the lock and the record, makes tokens, or runs pods that may carry one."""
_RBAC = "rbac.authorization.k8s.io"
_CLUSTER_WIDE = frozenset({"clusterrolebindings", "clusterroles"})
"""Who may bind or widen these has what he likes."""
_IMPERSONATED = frozenset({"users", "groups", "serviceaccounts"})
_ANYBODY = ("system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts")


@dataclass(frozen=True, order=True)
class Grant:
    """Somebody's right to write there. `cluster_admin` says that it comes with everything else, cluster-wide."""

    subject: str
    """`Group/platform`, `User/ada`, `ServiceAccount/tools/argo`."""
    binding: str
    may: str
    cluster_admin: bool = False


def grants(
    control_namespace: str,
    *,
    roles: Iterable[Body],
    bindings: Iterable[Body],
    accepted: Collection[str] = (),
    replaced: Collection[tuple[str, str]] = (),
) -> tuple[Grant, ...]:
    """Everybody but us, the cluster's own components, and who is `accepted`, that may write in the namespace.

    `bindings`: the RoleBindings of the control namespace and all ClusterRoleBindings; `roles`: those that they name.
    `replaced` are bindings, by kind and name, that are about to be written over: who is in them now is in them no more.
    """
    accepted = {*accepted, f"ServiceAccount/{control_namespace}/{ACCOUNT}"}
    by_name = {(role["kind"], role["metadata"]["name"]): role for role in roles}
    found: set[Grant] = set()
    for binding in bindings:
        if (binding["kind"], binding["metadata"]["name"]) in replaced:
            continue
        ref = binding["roleRef"]
        may = _writes((by_name.get((ref["kind"], ref["name"])) or {}).get("rules") or ())
        if not may:
            continue
        admin = binding["kind"] == "ClusterRoleBinding" and ref["name"] == "cluster-admin"
        for subject in binding.get("subjects") or ():
            name = _named(subject, binding)
            if name not in accepted and not _component(subject):
                where = f"{binding['kind']} {binding['metadata']['name']}"
                found.add(Grant(name, where, may, admin and not _anybody(subject)))
    return tuple(sorted(found))


def _writes(rules: Iterable[Body]) -> str:
    """The first right to write that the rules give, for people; nothing when they give none."""
    for rule in rules:
        verbs = sorted(set(rule.get("verbs") or ()) - _READS)
        groups, resources = set(rule.get("apiGroups") or ()), set(rule.get("resources") or ())
        if not verbs:
            continue
        if verbs == ["impersonate"]:
            if resources & {*_IMPERSONATED, "*"}:
                return f"impersonate {', '.join(sorted(resources))}"
            continue
        touched = {
            f"{kind}.{group}".rstrip(".")
            for group, kinds in KINDS.items()
            if groups & {group, "*"}
            for kind in kinds
            if resources & {kind, "*", f"*/{kind.partition('/')[2]}"}
        }
        if {"impersonate", "*"} & set(verbs) and groups & {"", "*"}:
            touched |= resources & _IMPERSONATED
        if {"bind", "escalate", "*"} & set(verbs) and groups & {_RBAC, "*"}:
            touched |= {f"{name}.{_RBAC}" for name in resources & _CLUSTER_WIDE}
        if touched:
            return f"{', '.join(verbs)} {', '.join(sorted(touched)[:3])}{' …' if len(touched) > 3 else ''}"
    return ""


def _named(subject: Body, binding: Body) -> str:
    namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
    return (
        f"ServiceAccount/{namespace}/{subject['name']}"
        if subject["kind"] == "ServiceAccount"
        else f"{subject['kind']}/{subject['name']}"
    )


def _component(subject: Body) -> bool:
    """Whether it is a part of the control plane itself: without it there is no cluster."""
    if subject["kind"] == "ServiceAccount":
        return bool(subject.get("namespace") == "kube-system")
    return bool(subject["name"].startswith("system:")) and not _anybody(subject) and subject["name"] != "system:masters"


def _anybody(subject: Body) -> bool:
    return bool(subject["kind"] != "ServiceAccount" and subject["name"].startswith(_ANYBODY))
