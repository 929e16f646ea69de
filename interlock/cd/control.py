"""What a cluster's administrator sets up once per environment: its control namespace, and what CD's identity may do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.cd.health import moves
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
"""(apiVersion, kind, plural): what CD may write in a namespace when nobody says which kinds Git has; of these the whole
objects are read, to find what is foreign.
Of sub-resources only logs, to read: no exec, no tokens of service accounts. Roles cannot give more than CD has (no
escalate, no bind)."""
BESIDE: tuple[tuple[str, str, str], ...] = (
    ("v1", "Endpoints", "endpoints"),
    ("v1", "PodTemplate", "podtemplates"),
    ("v1", "ReplicationController", "replicationcontrollers"),
    ("apps/v1", "ControllerRevision", "controllerrevisions"),
    ("certificates.k8s.io/v1beta1", "PodCertificateRequest", "podcertificaterequests"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    ("resource.k8s.io/v1", "ResourceClaim", "resourceclaims"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates"),
    ("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities"),
)
"""What a cluster serves besides in its namespaces: read to find what is foreign, where no cluster is asked for more."""

ACCOUNT = "interlock"
"""The service account whose tokens runs write with."""
FENCE = "interlock-fence"
"""The Secret that those tokens are bound to: without it they are worth nothing. It has no content."""
_RBAC = "rbac.authorization.k8s.io"
_ACCOUNT_PREFIX = "system:serviceaccount:"
_GROUP_OF_ADMISSION = "admissionregistration.k8s.io"
_ADMISSION = (
    "mutatingadmissionpolicies",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
)
PROBE = "interlock-probe"
"""The name under which the server is asked for its defaults of a kind without namespaces, in dry runs alone."""

Kind = tuple[str, str, str]
"""apiVersion, kind, plural."""


@dataclass(frozen=True)
class Wide:
    """Objects of one kind without namespaces, by their names."""

    kind: Kind
    names: tuple[str, ...]


@dataclass(frozen=True)
class Reach:
    """What an environment's runs touch in a cluster, beside its control namespace."""

    written: tuple[Kind, ...] = COMMON
    """Kinds in its namespaces that Git has, or that it still owns."""
    looked_at: tuple[Kind, ...] = BESIDE
    """Further kinds in its namespaces: what is foreign among them has to be seen."""
    wide: tuple[Wide, ...] = ()
    """What it has of `cluster_kinds`: those very objects and no others of their kinds."""
    defined: tuple[tuple[str, str], ...] = ()
    """Group and plural of the kinds that it defines: when a definition is to go, what goes along has to be seen."""
    namespaces: tuple[str, ...] | None = None
    """Of its namespaces those that it makes and changes itself; None for all."""


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
    reach: Reach | None = None,
) -> tuple[Body, ...]:
    """What `interlock-cd` needs for one environment, to be applied by an administrator, in this order.

    Runs write as the service account `interlock` of the control namespace, by tokens that the `subject` makes for it;
    without one it is the service account itself. Both may write in the namespaces, because a dry run needs the same
    right. Without a `reach`, all common kinds may be written.
    Nobody else gets rights in the control namespace: who can write there can free the lock and forge the inventory.
    """
    writer, reach = Subject("ServiceAccount", ACCOUNT, control_namespace), reach or Reach()
    both = (subject, writer) if subject else (writer,)
    role = role_name(control_namespace)
    lock = _READING_RECORDS if subject else _WRITING_RECORDS
    rules = _inside(reach)
    return (
        *(_namespace(name) for name in (control_namespace, *namespaces)),
        _object("v1", "ServiceAccount", ACCOUNT, control_namespace),
        *_bound("Role", role, control_namespace, [lock, *_LOCK], both[:1]),
        *(_bound("Role", f"{role}-writer", control_namespace, [_WRITING_RECORDS], (writer,)) if subject else ()),
        *(body for name in namespaces for body in _bound("Role", role, name, rules, both)),
        *_bound("ClusterRole", role, "", _outside(reach, namespaces), both),
    )


def role_name(control_namespace: str) -> str:
    return f"interlock-{control_namespace}"


def extra_role(
    control_namespace: str, namespace: str, rules: list[Body], subjects: Sequence[Subject]
) -> tuple[Body, ...]:
    """Further rights in one of the environment's namespaces, or beside them without one; the name tells the content."""
    name = f"{role_name(control_namespace)}-{digest(canonical(rules)).removeprefix('sha256:')[:8]}"
    return _bound("Role" if namespace else "ClusterRole", name, namespace, rules, subjects)


def is_extra(name: str, role: str) -> bool:
    """Whether a Role is named as one with further rights beside this one."""
    return re.fullmatch(rf"{re.escape(role)}-[0-9a-f]{{8}}", name) is not None


# our own among what lives ----------------------------------------------------------------------------

OWN_KINDS = frozenset({"Role", "RoleBinding"})
"""Of what we make in an environment's namespaces."""


def is_own(live: Body, control_namespace: str, username: str) -> bool:
    """Whether a Role or RoleBinding is one of those above: it gives what we might ask for, and to nobody but us.

    `username` is who we are for the API server. The name alone proves nothing: a namespace's administrator may make a
    Role of it, and bind it to whom he likes.
    """
    name, role = live["metadata"]["name"], role_name(control_namespace)
    if name != role and not name.startswith(f"{role}-"):
        return False
    if live["kind"] == "Role":
        return all(map(_ordinary, live.get("rules") or ()))
    ref, subjects = live.get("roleRef") or {}, live.get("subjects") or ()
    return (
        live["kind"] == "RoleBinding"
        and ref.get("kind") == "Role"
        and ref.get("name") == name
        and bool(subjects)
        and all(_is_us(each, live, control_namespace, username) for each in subjects)
    )


def _is_us(subject: Body, binding: Body, control_namespace: str, username: str) -> bool:
    namespace = subject.get("namespace") or binding["metadata"]["namespace"]
    found = Subject(subject["kind"], subject["name"], namespace if subject["kind"] == "ServiceAccount" else "")
    return found in {subject_of(username), Subject("ServiceAccount", ACCOUNT, control_namespace)}


def subject_of(username: str) -> Subject:
    """Whom to bind a Role to, by the name that the API server has for who asks."""
    if username.startswith(_ACCOUNT_PREFIX):
        namespace, _, name = username.removeprefix(_ACCOUNT_PREFIX).partition(":")
        return Subject("ServiceAccount", name, namespace)
    return Subject("User", username)


def _ordinary(rule: Body) -> bool:
    """Whether a rule is about whole kinds by our own verbs: no wildcard, no sub-resource but logs, no escalate."""
    if rule in _TELLING:
        return True
    verbs = set(rule.get("verbs") or ()) <= _OUR_VERBS
    return verbs and not any("*" in name or "/" in name for name in rule.get("resources") or ())


# rules -----------------------------------------------------------------------------------------------

_OUR_VERBS = frozenset({"get", "list", "watch", "create", "update", "patch", "delete"})


def verbs_inside(group: str, kind: str) -> tuple[str, ...]:
    """What a kind in a namespace needs to be written; a watch where there is health to be waited for."""
    watch = ("watch",) if moves(group, kind) else ()
    return ("get", "list", *watch, "create", "patch", "delete")


VERBS_WIDE = ("get", "create", "patch", "delete")
"""What an object without namespace needs, by its name: nothing of its kind is listed."""
_NAMED_BY_CONTENT = frozenset({"APIService", "CustomResourceDefinition"})
"""Kinds of which the server lets none have a throw-away name."""


def _verbs_looking(group: str, kind: str) -> tuple[str, ...]:
    """What a kind needs of which only what is foreign has to be seen. Pods and their makers tell of health, too."""
    return ("list", "watch") if (group, kind) in {("", "Pod"), ("apps", "ReplicaSet")} else ("list",)


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()) -> Body:
    rule: Body = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


_TELLING = [_rule("", ["events"], ["list"]), _rule("", ["pods/log"], ["get"])]
"""What tells why something is not healthy."""
_READING_RECORDS = _rule("", ["configmaps"], ["get", "create", "update"])
"""A commit that changes nothing is noted without the lock, and a list of images that was lost is made again."""
_WRITING_RECORDS = _rule("", ["configmaps"], ["get", "create", "update", "delete"])
_LOCK = [
    _rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
    _rule("", ["secrets"], ["create"]),
    _rule("", ["secrets"], ["get", "delete"], [FENCE]),
    _rule("", ["serviceaccounts/token"], ["create"], [ACCOUNT]),
]


def _inside(reach: Reach) -> list[Body]:
    """The rules in each of the environment's namespaces."""
    written = {(group_of(version), plural): verbs_inside(group_of(version), k) for version, k, plural in reach.written}
    seen = {
        (group_of(version), plural): _verbs_looking(group_of(version), kind)
        for version, kind, plural in (*COMMON, *reach.looked_at)
    }
    return [*_by_verbs({**seen, **written}), *_TELLING]


def _by_verbs(verbs: Mapping[tuple[str, str], tuple[str, ...]]) -> list[Body]:
    """One rule for all kinds of a group that have the same verbs; `verbs` is by group and plural."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), given in sorted(verbs.items()):
        found.setdefault((group, given), []).append(plural)
    return [_rule(group, plurals, given) for (group, given), plurals in found.items()]


def _outside(reach: Reach, namespaces: Sequence[str]) -> list[Body]:
    """The rules beside the namespaces: for the namespaces themselves, what may judge our objects, and `wide`."""
    made = namespaces if reach.namespaces is None else reach.namespaces
    return [
        _rule("", ["namespaces"], ["get"], namespaces),
        *([_rule("", ["namespaces"], ["create", "patch", "delete"], made)] if made else []),
        _rule(_GROUP_OF_ADMISSION, _ADMISSION, ["list"]),
        *(rule for each in reach.wide for rule in _of_wide(each)),
        *_by_verbs(dict.fromkeys(reach.defined, ("list",))),
    ]


def _of_wide(wide: Wide) -> list[Body]:
    version, kind, plural = wide.kind
    group = group_of(version)
    own = _rule(group, [plural], VERBS_WIDE, sorted(wide.names))
    return [own] if kind in _NAMED_BY_CONTENT else [own, _rule(group, [plural], ["create", "patch"], [PROBE])]


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
