"""What an administrator does in a cluster once for each environment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from interlock.cd.admission_lock import IMAGES, listing
from interlock.cd.audit import Grant, grants
from interlock.cd.control import Reach, is_extra, role_name
from interlock.cd.definitions import defined
from interlock.cd.guards import kind_name
from interlock.cd.objects import Body, identify, uid
from interlock.cd.reach import reach_of
from interlock.contract.render import Rendered
from interlock.errors import ClusterError
from tasks.cd import record
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import other_kinds, served_kinds
from tasks.common.effect import effect

MANAGER = "interlock-bootstrap"
_RBAC = "rbac.authorization.k8s.io/v1"


@effect(name="find what it touches")
def reach(
    cluster: Cluster, rendered: Rendered, *, control_namespace: str, environment_id: str, namespaces: Collection[str]
) -> Reach:
    """What Git has or the environment owns still, as the cluster serves it, and what else can be in its namespaces."""
    stored = record.read_stored.fn(cluster, control_namespace=control_namespace, environment_id=environment_id)
    kinds, _ = served_kinds(cluster, rendered, stored.inventory)
    others, _ = other_kinds(cluster.kinds(), kinds)
    served = {(kind.group, kind.kind): kind for kind in (*defined(m.body for m in rendered.manifests), *kinds)}
    wanted = {m.identity for m in rendered.manifests}
    if missing := sorted({kind_name(i) for i in wanted if (i.group, i.kind) not in served}):
        raise ClusterError(
            f"the cluster does not serve {', '.join(missing)}", status=404, hint="install their definitions first"
        )
    # What is owned of a kind that is gone is gone with it.
    owned = {i for i in stored.inventory.entries if (i.group, i.kind) in served}
    also = [(kind.api_version, kind.kind, kind.plural) for kind in others]
    return reach_of(wanted | owned, served, namespaces=namespaces, others=also)


@effect(name="audit the control namespace")
def audit(
    cluster: Cluster, control_namespace: str, accepted: Collection[str], written: Iterable[Body]
) -> tuple[Grant, ...]:
    """Who else may write there, once the bodies are `written`."""
    resources = {kind: cluster.resource(_RBAC, kind) for kind in _ROLES + _BINDINGS}
    found = {
        kind: cluster.list(resource, control_namespace if resource.namespaced else "")
        for kind, resource in resources.items()
    }
    roles, bindings = ([body for kind in names for body in found[kind]] for names in (_ROLES, _BINDINGS))
    replaced = {(i.kind, i.name) for i in map(identify, written) if i.namespace in {"", control_namespace}}
    return grants(control_namespace, roles=roles, bindings=bindings, accepted=accepted, replaced=replaced)


_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


@effect(name="write the roles")
def write(cluster: Cluster, bodies: Iterable[Body]) -> None:
    """In their order; what is there is brought to just this, and further Roles that a run has printed go."""
    made = tuple(bodies)
    for body in made:
        cluster.apply(body, manager=MANAGER, force=True)
    roles = {(i.namespace, i.name) for i in map(identify, made) if i.kind in _ROLES}
    for kind in (*_BINDINGS, *_ROLES):
        resource = cluster.resource(_RBAC, kind)
        for namespace, role in sorted(each for each in roles if bool(each[0]) == resource.namespaced):
            for live in cluster.list(resource, namespace):
                name = live["metadata"]["name"]
                if is_extra(name, role) and not _is_of_another(cluster, name):
                    cluster.delete(identify(live), uid=uid(live))


@effect(name="lock the environment")
def lock(cluster: Cluster, bodies: Sequence[Body], *, namespaces: Collection[str]) -> None:
    """The list of images first, then the policies, then their bindings.

    A list that is there is CD's own. A new one also has what runs now, so that nothing is refused that comes back.
    """
    if not bodies:
        return
    images, *locking = bodies
    if cluster.get(cluster.resource("v1", "ConfigMap"), IMAGES, images["metadata"]["namespace"]) is None:
        running = {image for namespace in namespaces for image in _running(cluster, namespace)}
        now = listing(running, images["metadata"]["namespace"], beside=images["data"])
        cluster.create(now, manager=MANAGER)
    for body in locking:
        _write_whole(cluster, body)


def _write_whole(cluster: Cluster, body: Body) -> None:
    """An apply would leave what somebody added: a condition that lets a tenant through, or an action."""
    live = cluster.get(cluster.resource(body["apiVersion"], body["kind"]), body["metadata"]["name"])
    if live is None:
        cluster.create(body, manager=MANAGER)
    else:
        cluster.replace({**body, "metadata": {**live["metadata"], **body["metadata"]}}, manager=MANAGER)


def _running(cluster: Cluster, namespace: str) -> Iterator[str]:
    for pod in cluster.list(cluster.resource("v1", "Pod"), namespace):
        for part in ("containers", "initContainers"):
            yield from (each["image"] for each in pod["spec"].get(part) or () if "@sha256:" in each["image"])


def _is_of_another(cluster: Cluster, role: str) -> bool:
    """Whether it is the Role of an environment whose control namespace is named like this one's, and longer."""
    return cluster.get(cluster.resource("v1", "Namespace"), role.removeprefix(role_name(""))) is not None
