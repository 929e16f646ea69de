"""Environments whose lock in the API server is shut, and people who try it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from interlock.cd.control import Subject, control_manifests
from interlock.cd.objects import Body
from interlock.errors import ClusterError
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.place import Place
from tasks.cd.cluster import Cluster, connect
from tests.cluster.test_permissions import bootstrap
from tests.cluster.worlds import USER, World, everything

RBAC = "rbac.authorization.k8s.io/v1"
LISTED = "registry.example/shop/web@sha256:" + "1a" * 32
FOREIGN = "registry.example/miner@sha256:" + "ee" * 32
MERGE = "application/strategic-merge-patch+json"


def configure(world: World, **lock: Any) -> None:
    """cd.yaml with a lock for the environment."""
    value = yaml.safe_load(world.config.read_text())
    value["environments"]["dev"]["admission_lock"] = lock
    world.config.write_text(yaml.safe_dump(value))


def lock_up(world: World, *more: str) -> None:
    """As an administrator does it."""
    code, said, told = bootstrap(world, "--lock", *more, kubeconfig=world.kubeconfig)
    assert code == 0, said + told
    wider: dict[str, Any] = {"namespaces": [world.namespace], "subject": Subject("User", USER)}
    for body in control_manifests(control_namespace=world.control, **wider, reach=everything(world.admin)):
        world.admin.apply(body, manager="admin", force=True)  # tests push kinds that Git does not have yet
    if "--warn" not in more:  # the API server learns of policies by a watch
        forged = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forged"}}
        until("lock", lambda: refusal(world.admin, "DRY", f"/api/v1/namespaces/{world.control}/configmaps", forged))


def until(what: str, ask: Callable[[], object], seconds: float = 60) -> None:
    """Ask until there is an answer; a failure names what did not come."""
    end = time.monotonic() + seconds
    while not ask():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: no {what}")
        time.sleep(0.2)


def remove_policies(world: World) -> set[str]:
    """Their names, as CD says them."""
    gone = set()
    plurals = {
        "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    }
    for kind, plural in plurals.items():
        root = f"/apis/admissionregistration.k8s.io/v1/{plural}"
        for each in world.admin.request("GET", root)["items"]:
            if each["metadata"]["name"].startswith(f"interlock-{world.environment_id}-"):
                world.admin.request("DELETE", f"{root}/{each['metadata']['name']}")
                gone.add(f"{kind}/{each['metadata']['name']}")
    return gone


@contextmanager
def person(
    world: World, place: Place, name: str, *, role: str = "admin", groups: Sequence[str] = (), where: str = ""
) -> Iterator[Cluster]:
    """Somebody with a built-in role in the environment's namespace."""
    user = f"{name}-{world.namespace}"
    binding = {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": where or world.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    world.admin.apply(binding, manager="admin")
    path: Path = world.config.parent / f"{name}.kubeconfig"
    client_kubeconfig(place, user=user, groups=groups, path=path, owner_uid=0)
    with connect(path) as found:
        yield found


def patch(who: Cluster, path: str, body: object) -> None:
    """As `kubectl edit` and `kubectl patch` send it."""
    who._exchange("PATCH", path, query={"fieldManager": "kubectl-edit"}, body=body, content=MERGE, subject=path)


def refusal(who: Cluster, method: str, path: str, body: Body | None = None) -> str:
    """What the API server says when it refuses; nothing when it lets it pass."""
    try:
        if method == "PATCH":
            patch(who, path, body)
        elif method == "DRY":
            who.request("POST", path, body=body, query={"dryRun": "All"})
        else:
            who.request(method, path, body=body)
    except ClusterError as error:
        assert error.status in {403, 422}, error
        return str(error)
    return ""


def pod(name: str, image: str, **spec: Any) -> Body:
    containers = [{"name": "c", "image": image}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}
