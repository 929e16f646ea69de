"""CD's credential is stolen, or Git asks for more than an environment should have.

Number: 21
Defence: `interlock bootstrap cluster` gives one service account per environment the kinds that Git has, in its
namespaces, and its objects without a namespace by name (interlock/cd/control.py); runs write with tokens of an hour
that die with the lock. An environment claims no more than the host's ceiling of namespaces and kinds
(interlock/cd/host.py), whatever its identity may do.
Not defended: what CD may do it may be made to do by whoever is root on its host. Environments of one cluster share the
kubeconfig that tokens are made with; give hosts of their own to environments that must not touch each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from interlock.cd.control import ACCOUNT
from interlock.cd.objects import Body
from interlock.errors import InterlockError
from tasks.cd.cluster import Cluster, connect
from tests.cluster.locks import refusal
from tests.cluster.worlds import USER, World, config_map

RBAC = "rbac.authorization.k8s.io/v1"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "x"}]},
}


def attempts(world: World) -> list[tuple[str, str, Any]]:
    """What a thief would do first: other namespaces, rights for himself, nodes' secrets, a webhook."""
    binding = {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"thief-{world.namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "thief", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"thief-{world.namespace}"},
    }
    everywhere = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    return [
        ("DRY", "/api/v1/namespaces/default/configmaps", config_map(world.namespace, {})),
        ("DRY", "/api/v1/namespaces/kube-system/pods", POD),
        ("GET", "/api/v1/namespaces/kube-system/secrets", None),
        ("GET", "/api/v1/secrets", None),
        ("DRY", f"/apis/{RBAC}/clusterrolebindings", binding),
        ("DRY", everywhere, webhook),
    ]


@pytest.fixture
def thief(world: World) -> Iterator[Cluster]:
    """Whoever has the kubeconfig that cd.yaml names."""
    with connect(world.host.clusters["sandbox"].kubeconfig) as found:
        yield found


def test_with_cluster_admin_the_attack_succeeds(world: World, thief: Cluster) -> None:
    """The habit of other tools: all of it passes."""
    body: Body = {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"habit-{world.namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    world.admin.apply(body, manager="admin")
    try:
        for attempt in attempts(world):
            assert not _settled(thief, *attempt), attempt
    finally:
        world.delete(f"/apis/{RBAC}/clusterrolebindings/habit-{world.namespace}")
        _until_refused(thief, world)


def _settled(thief: Cluster, method: str, path: str, body: Any) -> str:
    """RBAC learns of a binding by a watch."""
    said = ""
    for _ in range(50):
        said = refusal(thief, method, path, body)
        if not said:
            return ""
    return said


def _until_refused(thief: Cluster, world: World) -> None:
    for _ in range(200):
        if refusal(thief, *attempts(world)[0]):
            return
    raise AssertionError("the binding still counts")


def test_the_kubeconfig_reaches_nothing_else(world: World, thief: Cluster) -> None:
    """Neither another namespace, nor rights, nor what judges objects; and no tokens but of the one account."""
    for method, path, body in attempts(world):
        assert "forbidden" in refusal(thief, method, path, body), path
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    assert refusal(thief, "POST", f"/api/v1/namespaces/{world.namespace}/serviceaccounts/default/token", token)
    assert not refusal(thief, "POST", f"/api/v1/namespaces/{world.control}/serviceaccounts/{ACCOUNT}/token", token)


async def test_git_gets_no_further_than_the_ceiling(world: World) -> None:
    """A manifest for another namespace, or of a kind without one, is refused before anything is written."""
    await world.deploy()
    elsewhere = {**config_map("x", {}), "metadata": {"name": "x", "namespace": "default"}}
    binding = attempts(world)[4][2]
    for body in (elsewhere, binding):
        world.push_objects("more", body)
        with pytest.raises(InterlockError):
            await world.deploy()
    assert world.get("ConfigMap", "x", namespace="default") is None
