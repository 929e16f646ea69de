"""What a cluster's administrator sets up once per environment: its control namespace, and what CD's identity may do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.cd.objects import Body

COMMON: tuple[tuple[str, str, str], ...] = (
    ("v1", "Pod", "pods"),
    ("v1", "Service", "services"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "ResourceQuota", "resourcequotas"),
    ("v1", "LimitRange", "limitranges"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("rbac.authorization.k8s.io/v1", "Role", "roles"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
)
"""(apiVersion, kind, plural): what is always looked at for foreign objects, and what CD may write in a namespace.
No sub-resources: no exec, no tokens of service accounts. Roles cannot give more than CD has (no escalate, no bind)."""

_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Subject:
    """Whom RBAC knows CD as: a user by its client certificate, or a service account with its namespace."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def body(self) -> Body:
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"kind": self.kind, "name": self.name, "apiGroup": _RBAC}


def control_manifests(
    *, control_namespace: str, namespaces: Sequence[str], subject: Subject | None = None
) -> tuple[Body, ...]:
    """What `interlock-cd` needs for one environment, to be applied by an administrator, in this order.

    Without a subject a service account `interlock` is made in the control namespace. Nobody else gets rights there:
    who can write its ConfigMaps and Leases can free the lock and forge the inventory.
    """
    who = subject or Subject("ServiceAccount", "interlock", control_namespace)
    role = role_name(control_namespace)
    return (
        *(_namespace(name) for name in (control_namespace, *namespaces)),
        *(() if subject else (_object("v1", "ServiceAccount", who.name, control_namespace),)),
        *_bound("Role", role, control_namespace, _CONTROL, who),
        *(body for name in namespaces for body in _bound("Role", role, name, _WORKLOADS, who)),
        *_bound("ClusterRole", role, "", _own_namespaces(namespaces), who),
    )


def role_name(control_namespace: str) -> str:
    return f"interlock-{control_namespace}"


def is_own(live: Body, control_namespace: str) -> bool:
    """Whether a Role or RoleBinding is the one that `control_manifests` made, with just what it gave."""
    name = role_name(control_namespace)
    if live["metadata"]["name"] != name:
        return False
    if live["kind"] == "Role":
        return bool(live.get("rules") == _WORKLOADS)
    role = live.get("roleRef") or {}
    only = len(live.get("subjects") or ()) == 1
    return live["kind"] == "RoleBinding" and role.get("kind") == "Role" and role.get("name") == name and only


def _rule(group: str, resources: Iterable[str], verbs: Sequence[str] = _VERBS, names: Sequence[str] = ()) -> Body:
    rule: Body = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


_CONTROL = [
    _rule("", ["configmaps"], ["get", "list", "create", "update", "delete"]),
    _rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
]


def _workload_rules() -> list[Body]:
    groups = sorted({version.rpartition("/")[0] for version, _, _ in COMMON})
    return [_rule(g, [plural for version, _, plural in COMMON if version.rpartition("/")[0] == g]) for g in groups]


_WORKLOADS = _workload_rules()


def _own_namespaces(names: Sequence[str]) -> list[Body]:
    return [_rule("", ["namespaces"], ["get", "create", "patch"], names)]


def _bound(kind: str, name: str, namespace: str, rules: list[Body], who: Subject) -> tuple[Body, Body]:
    version = f"{_RBAC}/v1"
    role = {**_object(version, kind, name, namespace), "rules": rules}
    binding = {
        **_object(version, f"{kind}Binding", name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [who.body],
    }
    return role, binding


def _namespace(name: str) -> Body:
    return _object("v1", "Namespace", name)


def _object(version: str, kind: str, name: str, namespace: str = "") -> Body:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
