"""How health is seen on a real API server: by what changes, through restarts, and with the reasons that it gives."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import yaml

from interlock.cd import causes
from interlock.cd.control import ACCOUNT
from interlock.cd.health import State
from interlock.cd.objects import Body
from interlock.cd.progress import Progress
from interlock.contract import layout
from interlock.contract.health import HealthRule, HealthRules
from interlock.contract.render import Manifest
from interlock.errors import Unhealthy
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster, connect
from tasks.cd.observe import Observer, Patience
from tests.cluster.worlds import USER, Recorder, World, config_map, deployment, manifest_path

PATIENCE = Patience(120)
_MERGE = "application/merge-patch+json"


def _made(world: World, *bodies: Body, cluster_wide: bool = False) -> list[Manifest]:
    """Applied by the administrator, and as manifests."""
    named = [body if cluster_wide else _in(world, body) for body in bodies]
    for body in named:
        world.admin.apply(body, manager="test")
    return [Manifest(body, "shop", {}) for body in named]


def _in(world: World, body: Body) -> Body:
    return {**body, "metadata": {**body["metadata"], "namespace": world.namespace}}


def _until(observer: Observer, manifests: Sequence[Manifest], holds: Callable[[Progress], bool]) -> Progress:
    for _ in range(60):
        seen = observer.look(manifests, closely=True)
        if holds(seen):
            return seen
    raise AssertionError(seen.note)


def _reason(seen: Progress) -> str:
    return "; ".join(each.line for each in seen.awaited)


def _set_status(world: World, path: str, status: Mapping[str, Any]) -> None:
    world.admin._exchange("PATCH", f"{path}/status", query={}, body={"status": status}, content=_MERGE, subject=path)


@pytest.fixture
def cluster_user(world: World) -> Cluster:
    """CD's own connection, with no more rights than it has."""
    return connect(world.host.clusters["sandbox"].kubeconfig)


# what it costs ---------------------------------------------------------------------------------------


def _counted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    asked: Counter[str] = Counter()
    request, opened = cluster.request, cluster.opened

    def counted(method: str, path: str, **more: Any) -> Any:
        asked["request"] += 1
        return request(method, path, **more)

    def counted_watch(path: str, **more: Any) -> Any:
        asked["watch"] += 1
        return opened(path, **more)

    monkeypatch.setattr(cluster, "request", counted)
    monkeypatch.setattr(cluster, "opened", counted_watch)
    return asked


def test_what_stays_as_it_is_costs_no_request(
    world: World, cluster_user: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One LIST a kind, and then one watch for each kind that may change: none of it grows with the objects."""
    many = [config_map(f"c{n:03}", {"a": "1"}) for n in range(150)]
    manifests = _made(world, *many, *(deployment(f"d{n:02}") for n in range(30)), deployment(replicas=1))
    observer = Observer(cluster_user, PATIENCE)
    _until(observer, manifests, lambda seen: seen.healthy == 180)
    asked = _counted(cluster_user, monkeypatch)

    seen = observer.look(manifests)

    assert (seen.healthy, seen.total) == (180, 181)
    assert asked == {"watch": 3}  # Deployments, and ReplicaSets and pods of the one that waits


def test_a_change_is_seen_at_the_next_look(world: World, cluster_user: Cluster) -> None:
    """Also one that happened between two looks, the making of an object, and its end."""
    manifests = _made(world, deployment())
    later = Manifest(_in(world, deployment("later")), "shop", {})
    observer = Observer(cluster_user, PATIENCE)
    _until(observer, manifests, lambda seen: seen.done)

    assert _reason(observer.look([*manifests, later])) == "does not exist"
    world.merge(world.path("deployments", "web", "apps/v1"), {"spec": {"replicas": 1}})
    world.admin.apply(later.body, manager="test")
    seen = _until(observer, [*manifests, later], lambda seen: seen.healthy == 1)
    assert [each.target.identity.name for each in seen.awaited] == ["web"]
    world.delete(world.path("deployments", "later", "apps/v1"))
    assert "does not exist" in _reason(_until(observer, [*manifests, later], lambda seen: seen.healthy == 0))


def test_what_was_just_written_is_not_judged_by_what_was_seen_before(world: World, cluster_user: Cluster) -> None:
    """After a write, the object as it was does not count, however soon one looks."""
    manifests = _made(world, deployment())
    observer = Observer(cluster_user, PATIENCE)
    _until(observer, manifests, lambda seen: seen.done)

    world.merge(world.path("deployments", "web", "apps/v1"), {"spec": {"replicas": 1}})
    observer.expect(manifests)

    assert not observer.look(manifests).done


def test_a_forgotten_version_is_listed_again(world: World, cluster_user: Cluster) -> None:
    """410 Gone: the watch begins anew with a LIST, and nothing is missed."""
    manifests = _made(world, deployment(replicas=1))
    observer = Observer(cluster_user, PATIENCE)
    observer.look(manifests)
    for feed in observer._feeds.values():
        feed._version = "1"
    world.merge(world.path("deployments", "web", "apps/v1"), {"spec": {"replicas": 0}})

    assert _until(observer, manifests, lambda seen: seen.done).healthy == 1


def test_while_the_server_is_away_nothing_is_known(world: World, cluster_user: Cluster, sandbox: Sandbox) -> None:
    """Neither healthy nor failed, no clock runs, and afterwards the watch goes on."""
    manifests = _made(world, deployment())
    observer = Observer(cluster_user, Patience(30))
    _until(observer, manifests, lambda seen: seen.done)
    sandbox.kill("kubernetes")
    try:
        seen = observer.look(manifests)
        assert (seen.done, seen.settled, seen.healthy) == (False, False, 1)
        assert seen.note.startswith("1 of 1 healthy: unknown: ")
    finally:
        sandbox.revive("kubernetes")

    assert _until(observer, manifests, lambda seen: seen.done).objects[0].health.state == State.HEALTHY


# what is told ----------------------------------------------------------------------------------------


def test_a_pod_that_no_node_takes_says_so(world: World, cluster_user: Cluster) -> None:
    """The scheduler's own words, found over the ReplicaSet; CD needs no right beside its Role for it."""
    manifests = _made(world, deployment(replicas=1))
    observer = Observer(cluster_user, PATIENCE)

    seen = _until(observer, manifests, lambda seen: "not scheduled" in _reason(seen))

    assert "pod web-" in _reason(seen)
    assert "not scheduled: no nodes available to schedule pods" in _reason(seen)


def _left_alone() -> Body:
    """One pod that no scheduler touches: what it says is ours to write."""
    body = deployment(replicas=1)
    body["spec"]["template"]["spec"]["schedulerName"] = "nobody"
    return body


def _first_pod(world: World) -> Body:
    pods = world.admin.resource("v1", "Pod")
    for _ in range(100):
        if found := world.admin.list(pods, world.namespace):
            return found[0]
        time.sleep(0.1)
    raise AssertionError("no pod was made")


def _pod_status(world: World, **status: object) -> str:
    name: str = _first_pod(world)["metadata"]["name"]
    conditions = [{"type": "PodScheduled", "status": "True"}]
    _set_status(world, world.path("pods", name), {"conditions": conditions, **status})
    return name


def test_a_container_that_crashes_says_how(
    world: World, cluster_user: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code, what killed it, how often; what goes on so fails long before the deadline."""
    monkeypatch.setattr(causes, "CRASH_PATIENCE", 2.0)
    manifests = _made(world, _left_alone())
    observer = Observer(cluster_user, PATIENCE)
    container = {
        "name": "web",
        "image": "r",
        "imageID": "",
        "ready": False,
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }
    pod = _pod_status(world, containerStatuses=[container])

    words = f"pod {pod}: container web ended with exit code 137 (OOMKilled), 4 restarts"
    seen = _until(observer, manifests, lambda seen: words in _reason(seen))
    assert not seen.failed
    _pod_status(world, containerStatuses=[{**container, "restartCount": 5}])
    seen = _until(observer, manifests, lambda seen: bool(seen.failed))
    assert seen.failed[0].causes[0].crash is not None


def test_a_probe_that_fails_is_told_by_its_event(world: World, cluster_user: Cluster) -> None:
    """The container runs; why it is not ready, only an event says."""
    manifests = _made(world, _left_alone())
    container = {
        "name": "web",
        "image": "r",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }
    pod = _pod_status(world, phase="Running", containerStatuses=[container])
    _tell(world, _first_pod(world), "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    observer = Observer(cluster_user, PATIENCE)

    seen = _until(observer, manifests, lambda seen: "statuscode: 503" in _reason(seen))

    assert f"pod {pod}: container web runs and is not ready: Readiness probe failed" in _reason(seen)


def _tell(world: World, about: Body, reason: str, message: str) -> None:
    metadata = about["metadata"]
    reference = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        **{key: metadata[key] for key in ("name", "namespace", "uid")},
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.1", "namespace": world.namespace},
        "involvedObject": reference,
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    world.admin.create(event, manager="test")


def test_a_quota_is_told(world: World, cluster_user: Cluster) -> None:
    """Pods that may not be made: the quota and its numbers, from who wanted to make them."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    stateful = {
        **deployment("db", replicas=1),
        "kind": "StatefulSet",
    }
    stateful["spec"] = {**stateful["spec"], "serviceName": "db"}
    made = _made(world, quota, deployment(replicas=1), stateful)
    observer = Observer(cluster_user, PATIENCE)

    def told(seen: Progress) -> bool:
        words = ("ReplicaSet web-", "no pod can be made", "StatefulSet db: FailedCreate")
        return all(word in _reason(seen) for word in words)

    assert _reason(_until(observer, made[1:], told)).count("exceeded quota: none") == 2


def test_a_claim_that_binds_at_first_use_is_not_waited_for(world: World, cluster_user: Cluster) -> None:
    """Its class says so through an event of the volume controller; another class is waited for."""
    for mode in ("WaitForFirstConsumer", "Immediate"):
        world.admin.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": f"{world.namespace}-{mode.lower()}"},
                "provisioner": "example.org/none",
                "volumeBindingMode": mode,
            },
            manager="test",
        )
    claims = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": mode},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}},
                "storageClassName": f"{world.namespace}-{mode}",
            },
        }
        for mode in ("waitforfirstconsumer", "immediate")
    ]
    manifests = _made(world, *claims)
    observer = Observer(cluster_user, PATIENCE)

    seen = _until(observer, manifests, lambda seen: seen.healthy == 1)

    assert [each.target.identity.name for each in seen.awaited] == ["immediate"]


# custom resources ------------------------------------------------------------------------------------


def _definition(group: str, plural: str, kind: str, status: Mapping[str, Any] | None) -> Body:
    properties: dict[str, Any] = {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    if status is not None:
        properties["status"] = {"type": "object", **status}
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


_CONDITION = {key: {"type": "string"} for key in ("type", "status", "reason", "message")}
_CONDITIONS = {
    "properties": {
        "conditions": {"type": "array", "items": {"type": "object", "properties": _CONDITION}},
    }
}


def _served(world: World, definition: Body) -> None:
    """Until the kind and its schema are there, as a sync finds them."""
    group = definition["spec"]["group"]
    observer = Observer(world.admin, PATIENCE)
    _until(observer, _made(world, definition, cluster_wide=True), lambda seen: seen.done)
    for _ in range(100):
        try:
            world.admin.resource(f"{group}/v1", definition["spec"]["names"]["kind"])
            found = world.admin.request("GET", f"/openapi/v3/apis/{group}/v1")["components"]["schemas"]
        except Exception:
            found = {}
        if any(definition["spec"]["names"]["kind"] in name for name in found):
            return
        time.sleep(0.1)
    raise AssertionError("the kind is not served")


def _resource(group: str, kind: str, name: str = "one") -> Body:
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": {}}


def test_a_resource_without_a_status_waits_if_its_kind_tells_anything(world: World) -> None:
    """The definition's schema decides: one whose status has fields is in progress, one that has none is healthy."""
    group = f"{world.namespace}.example.org"
    _served(world, _definition(group, "telling", "Telling", _CONDITIONS))
    _served(world, _definition(group, "silent", "Silent", {}))
    _served(world, _definition(group, "mute", "Mute", None))
    manifests = _made(world, *(_resource(group, kind) for kind in ("Telling", "Silent", "Mute")))

    seen = Observer(world.admin, PATIENCE).look(manifests)

    assert [(each.target.identity.kind, each.line) for each in seen.awaited] == [
        ("Telling", "has no status yet: no controller has looked at it")
    ]


def test_a_crossplane_like_resource_by_its_rule(world: World) -> None:
    """Synced and Ready, read by CEL from the repository: unknown, in progress, failed, healthy."""
    group = f"{world.namespace}.crossplane.io"
    _served(world, _definition(group, "buckets", "Bucket", _CONDITIONS))
    rule = HealthRule(
        "crossplane",
        "*.crossplane.io",
        "*",
        healthy='["Ready", "Synced"].all(t, object.status.conditions.exists(c, c.type == t && c.status == "True"))',
        failed='object.status.conditions.exists(c, c.type == "Synced" && c.reason == "ReconcileError")',
        message='object.status.conditions.filter(c, c.status != "True").map(c, c.type + ": " + c.reason).join(", ")',
    )
    manifests = _made(world, _resource(group, "Bucket"))
    observer = Observer(world.admin, Patience(120, rules=HealthRules((rule,))))
    path = f"/apis/{group}/v1/namespaces/{world.namespace}/buckets/one"

    assert 'the rule crossplane has no answer: Key not found in map : "status"' in _reason(observer.look(manifests))
    synced = {"type": "Synced", "status": "True", "reason": "ReconcileSuccess"}
    _set_status(world, path, {"conditions": [synced, {"type": "Ready", "status": "False", "reason": "Creating"}]})
    assert _reason(_until(observer, manifests, lambda seen: "Creating" in seen.note)) == "Ready: Creating"
    _set_status(world, path, {"conditions": [{"type": "Synced", "status": "False", "reason": "ReconcileError"}]})
    assert _reason(_until(observer, manifests, lambda seen: bool(seen.failed))) == "Synced: ReconcileError"
    _set_status(world, path, {"conditions": [synced, {"type": "Ready", "status": "True", "reason": "Available"}]})
    assert _until(observer, manifests, lambda seen: seen.done).healthy == 1


def _let_write(world: World, group: str, plural: str) -> None:
    """What an administrator adds to CD's Role for a kind of his own."""
    version = "rbac.authorization.k8s.io/v1"
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    metadata = {"name": f"interlock-{world.control}-{plural}", "namespace": world.namespace}
    rules = [{"apiGroups": [group], "resources": [plural], "verbs": verbs}]
    subjects = [
        {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.control},
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]}
    world.admin.apply({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}, manager="admin")
    binding = {"apiVersion": version, "kind": "RoleBinding", "metadata": metadata}
    world.admin.apply({**binding, "roleRef": reference, "subjects": subjects}, manager="admin")


async def test_a_sync_waits_by_the_repositorys_rules(world: World) -> None:
    """policy/health.yaml of the commit that is deployed decides, and its message is what the run tells."""
    group = f"{world.namespace}.crossplane.io"
    _served(world, _definition(group, "buckets", "Bucket", _CONDITIONS))
    _let_write(world, group, "buckets")
    rule = {
        "name": "crossplane",
        "group": "*.crossplane.io",
        "kind": "Bucket",
        "healthy": 'object.status.conditions.exists(c, c.type == "Synced" && c.status == "True")',
        "failed": 'object.status.conditions.exists(c, c.reason == "ReconcileError")',
        "message": 'object.status.conditions[0].message + "!"',
    }
    world.push(
        {
            layout.HEALTH: yaml.safe_dump({"format": 1, "rules": [rule]}),
            manifest_path("bucket"): yaml.safe_dump(_resource(group, "Bucket")),
        }
    )
    path = f"/apis/{group}/v1/namespaces/{world.namespace}/buckets/one"
    presenter = Recorder()
    running = asyncio.create_task(world.deploy(presenter))
    for _ in range(100):
        if any("has no answer" in note for note in presenter.notes):
            break
        await asyncio.sleep(0.2)
    refused = {"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "no such region"}
    _set_status(world, path, {"conditions": [refused]})

    with pytest.raises(Unhealthy, match="no such region!"):
        await asyncio.wait_for(running, 30)

    _set_status(world, path, {"conditions": [{**refused, "status": "True", "reason": "ReconcileSuccess"}]})
    assert (await world.deploy()).said == "deployed"
