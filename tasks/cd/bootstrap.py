"""What an administrator does in a cluster once for each environment."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from interlock.cd.audit import Grant, grants
from interlock.cd.control import Kind
from interlock.cd.objects import Body
from interlock.contract.render import Rendered
from tasks.cd import record
from tasks.cd.cluster import Cluster
from tasks.common.effect import effect

MANAGER = "interlock-bootstrap"
_RBAC = "rbac.authorization.k8s.io/v1"


@effect(name="list kinds")
def kinds(cluster: Cluster, rendered: Rendered, *, control_namespace: str, environment_id: str) -> tuple[Kind, ...]:
    """The kinds that Git has or the environment owns still, as the cluster serves them; without Namespaces."""
    stored = record.read_stored.fn(cluster, control_namespace=control_namespace, environment_id=environment_id)
    wanted = {(m.identity.group, m.identity.kind): m.body["apiVersion"] for m in rendered.manifests}
    owned = {(i.group, i.kind) for i in stored.inventory.entries} - wanted.keys()
    found = [cluster.resource(version, kind) for (_, kind), version in wanted.items()]
    found += [cluster.preferred(group, kind) for group, kind in sorted(owned)]
    return tuple(sorted((r.api_version, r.kind, r.plural) for r in found if r.namespaced))


@effect(name="audit the control namespace")
def audit(cluster: Cluster, control_namespace: str, accepted: Collection[str]) -> tuple[Grant, ...]:
    """Who else may write there."""
    resources = {kind: cluster.resource(_RBAC, kind) for kind in _ROLES + _BINDINGS}
    found = {
        kind: cluster.list(resource, control_namespace if resource.namespaced else "")
        for kind, resource in resources.items()
    }
    roles, bindings = ([body for kind in names for body in found[kind]] for names in (_ROLES, _BINDINGS))
    return grants(control_namespace, roles=roles, bindings=bindings, accepted=accepted)


_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


@effect(name="write the roles")
def write(cluster: Cluster, bodies: Iterable[Body]) -> None:
    """In their order; what is there is brought to just this."""
    for body in bodies:
        cluster.apply(body, manager=MANAGER, force=True)
