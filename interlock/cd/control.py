"""What a cluster's administrator sets up once per environment: its control namespace, and what CD's identity may do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.cd.objects import Body, group_of
from interlock.contract.canonical import canonical, digest

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
"""(apiVersion, kind, plural): what is always looked at for foreign objects, and what CD may write in a namespace when
nobody says which kinds Git has.
Of sub-resources only logs, to read: no exec, no tokens of service accounts. Roles cannot give more than CD has (no
escalate, no bind)."""

ACCOUNT = "interlock"
"""The service account whose tokens runs write with."""
FENCE = "interlock-fence"
"""The Secret that those tokens are bound to: without it they are worth nothing. It has no content."""
_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete"]
_RBAC = "rbac.authorization.k8s.io"

Kind = tuple[str, str, str]
"""apiVersion, kind, plural."""


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
    *,
    control_namespace: str,
    namespaces: Sequence[str],
    subject: Subject | None = None,
    kinds: Iterable[Kind] | None = None,
) -> tuple[Body, ...]:
    """What `interlock-cd` needs for one environment, to be applied by an administrator, in this order.

    Runs write as the service account `interlock` of the control namespace, by tokens that the `subject` makes for it;
    without one it is the service account itself. Both may write in the namespaces, because a dry run needs the same
    right. With `kinds`, those of Git, only they may be written, and the common ones read.
    Nobody else gets rights in the control namespace: who can write there can free the lock and forge the inventory.
    """
    writer = Subject("ServiceAccount", ACCOUNT, control_namespace)
    both = (subject, writer) if subject else (writer,)
    role = role_name(control_namespace)
    rules = _workload_rules(kinds)
    return (
        *(_namespace(name) for name in (control_namespace, *namespaces)),
        _object("v1", "ServiceAccount", ACCOUNT, control_namespace),
        *_bound("Role", role, control_namespace, _CONTROL, both[:1]),
        *(_bound("Role", f"{role}-writer", control_namespace, _RECORDS, (writer,)) if subject else ()),
        *(body for name in namespaces for body in _bound("Role", role, name, rules, both)),
        *_bound("ClusterRole", role, "", _own_namespaces(namespaces), both),
    )


def role_name(control_namespace: str) -> str:
    return f"interlock-{control_namespace}"


def extra_role(
    control_namespace: str, namespace: str, rules: list[Body], subjects: Sequence[Subject]
) -> tuple[Body, ...]:
    """Further rights in one of the environment's namespaces, beside those that it has; the name tells the content."""
    name = f"{role_name(control_namespace)}-{digest(canonical(rules)).removeprefix('sha256:')[:8]}"
    return _bound("Role", name, namespace, rules, subjects)


OWN_KINDS = frozenset({"Role", "RoleBinding"})
"""Of what we make in an environment's namespaces."""


def is_own(live: Body, control_namespace: str) -> bool:
    """Whether a Role or RoleBinding is one of those above: it gives our own subjects what we might ask for, no more."""
    name, role = live["metadata"]["name"], role_name(control_namespace)
    if name != role and not name.startswith(f"{role}-"):
        return False
    if live["kind"] == "Role":
        return all(map(_ordinary, live.get("rules") or ()))
    ref, subjects = live.get("roleRef") or {}, live.get("subjects") or ()
    writer = Subject("ServiceAccount", ACCOUNT, control_namespace).body
    return (
        live["kind"] == "RoleBinding"
        and ref.get("kind") == "Role"
        and ref.get("name") == name
        and writer in subjects
        and len(subjects) <= 2
    )


def _ordinary(rule: Body) -> bool:
    """Whether a rule is about whole kinds by our own verbs: no wildcard, no sub-resource but logs, no escalate."""
    if rule in _TELLING:
        return True
    verbs = set(rule.get("verbs") or ()) <= {*_READ, *_WRITE}
    return verbs and not any("*" in name or "/" in name for name in rule.get("resources") or ())


def _rule(group: str, resources: Iterable[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Body:
    rule: Body = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


_TELLING = [_rule("", ["events"], ["get", "list"]), _rule("", ["pods/log"], ["get"])]
"""What tells why something is not healthy."""
_RECORDS = [_rule("", ["configmaps"], ["get", "list", "create", "update", "delete"])]
_CONTROL = [
    *_RECORDS,
    _rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
    _rule("", ["secrets"], ["create"]),
    _rule("", ["secrets"], ["get", "delete"], [FENCE]),
    _rule("", ["serviceaccounts/token"], ["create"], [ACCOUNT]),
]


def _workload_rules(kinds: Iterable[Kind] | None) -> list[Body]:
    if kinds is None:
        return [*_by_group(COMMON, [*_READ, *_WRITE]), *_TELLING]
    written = sorted(set(kinds))
    return [*_by_group({*COMMON, *written}, _READ), *_by_group(written, _WRITE), *_TELLING]


def _by_group(kinds: Iterable[Kind], verbs: Sequence[str]) -> list[Body]:
    found: dict[str, list[str]] = {}
    for version, _, plural in kinds if isinstance(kinds, tuple) else sorted(kinds):
        found.setdefault(group_of(version), []).append(plural)
    return [_rule(group, dict.fromkeys(found[group]), verbs) for group in sorted(found)]


def _own_namespaces(names: Sequence[str]) -> list[Body]:
    return [_rule("", ["namespaces"], ["get", "create", "patch", "delete"], names)]


def _bound(kind: str, name: str, namespace: str, rules: list[Body], subjects: Sequence[Subject]) -> tuple[Body, Body]:
    version = f"{_RBAC}/v1"
    role = {**_object(version, kind, name, namespace), "rules": rules}
    binding = {
        **_object(version, f"{kind}Binding", name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [subject.body for subject in subjects],
    }
    return role, binding


def _namespace(name: str) -> Body:
    return _object("v1", "Namespace", name)


def _object(version: str, kind: str, name: str, namespace: str = "") -> Body:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
