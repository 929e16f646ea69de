"""The lock in the API server, on the real one: what it refuses, and that what has to go on goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from interlock.cd.admission_lock import BREAK_GLASS, IMAGES
from interlock.cd.control import ACCOUNT, FENCE
from interlock.cd.objects import Body
from sandbox.parts import kwok
from sandbox.parts.kubernetes import Kubernetes, client_kubeconfig
from sandbox.supervisor import Sandbox
from sandbox.terminal import Terminal
from tasks.cd.cluster import Cluster, connect
from tests.cluster import locks
from tests.cluster.locks import FOREIGN, LISTED, person, pod, refusal, until
from tests.cluster.worlds import IMAGE, Recorder, World, config_map, deployment, service

IN_GIT = "is changed in Git alone"


@pytest.fixture
def locked(world: World) -> World:
    """Deployed, and the lock shut."""
    world.push_objects("web", deployment("web"), service("web"))
    locks.lock_up(world)
    return world


@pytest.fixture
def tenant(world: World, sandbox: Sandbox) -> Iterator[Cluster]:
    """Somebody who administers the application's namespace."""
    with person(world, sandbox.place, "tenant") as found:
        yield found


async def test_the_server_finds_nothing_wrong_with_the_policies(locked: World) -> None:
    """Their expressions are type-checked without a warning, for every kind that they name."""
    root = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    mine = [
        each
        for each in locked.admin.request("GET", root)["items"]
        if each["metadata"]["name"].startswith(f"interlock-{locked.environment_id}-")
    ]
    assert len(mine) == 6
    assert [each["status"].get("typeChecking", {}).get("expressionWarnings") for each in mine] == [None] * 6


async def test_a_tenant_changes_nothing_that_is_managed(locked: World, tenant: Cluster) -> None:
    """Edit, scale, delete, strip the mark, delete all: refused, with object, environment and name."""
    await locked.deploy()
    web, base = locked.path("deployments", "web", "apps/v1"), locked.path("configmaps", "base")
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", base, {"data": {"a": "2"}}),
        ("PATCH", base, {"metadata": {"labels": {"applyset.kubernetes.io/part-of": None}}}),
        ("PATCH", web, {"spec": {"replicas": 3}}),
        ("PATCH", f"{web}/scale", {"spec": {"replicas": 3}}),
        ("DELETE", web, None),
        ("DELETE", locked.path("services", "web"), None),
        ("DELETE", base.rpartition("/")[0], None),
    ]
    for method, path, body in attempts:
        said = refusal(tenant, method, path, body)
        assert IN_GIT in said, (method, path, said)
        assert f"of environment dev {IN_GIT}, not by tenant-{locked.namespace}" in said
    assert (await locked.plan()).writes == ()


async def test_a_tenants_autoscaler_scales_nothing(locked: World, tenant: Cluster) -> None:
    """Its controller would pass the lock. One that Git has is CD's to write, and its own may be deleted."""
    await locked.deploy()
    scalers = locked.path("horizontalpodautoscalers", "", "autoscaling/v2").rstrip("/")
    said = refusal(tenant, "POST", scalers, _autoscaler("mine", "web"))
    assert f"horizontalpodautoscalers/mine of environment dev {IN_GIT}" in said
    locks.remove_policies(locked)
    until("open lock", lambda: not refusal(tenant, "POST", scalers, _autoscaler("mine", "web")))
    locks.lock_up(locked)
    assert IN_GIT in refusal(tenant, "PATCH", f"{scalers}/mine", {"spec": {"maxReplicas": 50}})
    assert refusal(tenant, "DELETE", f"{scalers}/mine") == ""


def _autoscaler(name: str, of: str) -> Body:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "minReplicas": 3,
            "maxReplicas": 4,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": of},
        },
    }


async def test_a_status_is_written_without_owners_and_labels(locked: World) -> None:
    """Who may write it would have the object collected by an owner that there is not, or take it out of the set."""
    await locked.deploy()
    web = f"{locked.path('deployments', 'web', 'apps/v1')}/status"
    (made,) = locked.admin.list(locked.admin.resource("apps/v1", "ReplicaSet"), locked.namespace)
    below = f"{locked.path('replicasets', made['metadata']['name'], 'apps/v1')}/status"
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0" * 8}
    forged = {"metadata": {"ownerReferences": [gone]}}
    condition = {"type": "Told", "status": "True", "reason": "x", "message": "x"}

    assert IN_GIT in refusal(locked.admin, "PATCH", web, forged)
    assert IN_GIT in refusal(locked.admin, "PATCH", web, {"metadata": {"finalizers": ["example.org/never"]}})
    assert "changed by that alone" in refusal(locked.admin, "PATCH", below, forged)
    assert refusal(locked.admin, "PATCH", web, {"status": {"conditions": [condition]}}) == ""
    assert refusal(locked.admin, "PATCH", below, {"status": {"conditions": [condition]}}) == ""


async def test_a_tenant_has_what_is_his(locked: World, tenant: Cluster) -> None:
    """Objects without the environment's mark are made, changed and deleted as before."""
    await locked.deploy()
    own = {**config_map("own", {"a": "1"}), "metadata": {"name": "own", "namespace": locked.namespace}}
    tenant.create(own, manager="tenant")
    assert refusal(tenant, "PATCH", locked.path("configmaps", "own"), {"data": {"a": "2"}}) == ""
    assert refusal(tenant, "DELETE", locked.path("configmaps", "own")) == ""


async def test_nothing_runs_that_no_release_lists(locked: World, tenant: Cluster) -> None:
    """As a pod, in a Deployment, as init container, as image volume; a tag is no digest."""
    await locked.deploy()
    pods, apps = f"/api/v1/namespaces/{locked.namespace}/pods", f"/apis/apps/v1/namespaces/{locked.namespace}"
    volume = {"volumes": [{"name": "v", "image": {"reference": FOREIGN}}]}
    attempts: list[tuple[str, Any, str]] = [
        (pods, pod("a", FOREIGN), FOREIGN),
        (pods, pod("b", "registry.example/shop/web:1"), "registry.example/shop/web:1"),
        (pods, pod("c", LISTED, initContainers=[{"name": "i", "image": FOREIGN}]), FOREIGN),
        (pods, pod("d", LISTED, **volume), FOREIGN),
        (f"{apps}/deployments", deployment("mine", image=FOREIGN), FOREIGN),
    ]
    for path, body, image in attempts:
        assert f"no release of dev has {image}" in refusal(tenant, "POST", path, body), body
    assert refusal(tenant, "POST", pods, pod("e", LISTED)) == ""
    assert refusal(tenant, "DELETE", f"{pods}/e") == ""


async def test_what_runs_below_is_changed_by_controllers_alone(
    locked: World, tenant: Cluster, nodes: Sequence[str]
) -> None:
    """An image that is patched, an ephemeral container, a ReplicaSet's template, a Pod with a made-up owner: refused.

    Deleting a pod is not: it comes back.
    """
    locked.push_objects("web", on_nodes(deployment("web", replicas=1)))
    await locked.deploy()
    (name,) = running(locked)
    (made,) = locked.admin.list(locked.admin.resource("apps/v1", "ReplicaSet"), locked.namespace)
    one = locked.path("pods", name)
    sets = locked.path("replicasets", made["metadata"]["name"], "apps/v1")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True}
    owned = {**owner, "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}
    forged = pod("forged", LISTED)
    forged["metadata"]["ownerReferences"] = [owned]
    other = LISTED.replace("web@", "other@")
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", one, {"spec": {"containers": [{"name": "web", "image": other}]}}),
        ("PATCH", sets, {"spec": {"replicas": 5}}),
        ("POST", one.rpartition("/")[0], forged),
    ]
    for method, path, body in attempts:
        assert "is made by a controller, and changed by that alone" in refusal(tenant, method, path, body), path
    ephemeral = {"spec": {"ephemeralContainers": [{"name": "e", "image": LISTED}]}}  # RBAC holds the tenant off
    said = refusal(locked.admin, "PATCH", f"{one}/ephemeralcontainers", ephemeral)
    assert "is made by a controller, and changed by that alone" in said
    assert refusal(tenant, "DELETE", one) == ""
    until("another pod", lambda: running(locked) not in ([], [name]))


async def test_the_control_namespace_is_cds_whatever_rights_somebody_has(locked: World, sandbox: Sandbox) -> None:
    """Somebody with the role `admin` there moves neither record, Lease nor fence, makes no token and runs no pod."""
    await locked.deploy()
    with person(locked, sandbox.place, "insider", where=locked.control) as insider:
        core = f"/api/v1/namespaces/{locked.control}"
        token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        attempts: list[tuple[str, str, Any]] = [
            ("PATCH", f"{core}/configmaps/interlock-{locked.environment_id}-record", {"data": {"record.json": "{}"}}),
            ("PATCH", f"{core}/configmaps/{IMAGES}", {"data": {"ee" * 32: "registry.example/miner"}}),
            ("DELETE", f"{core}/configmaps/{IMAGES}", None),
            ("DELETE", f"{core}/secrets/{FENCE}", None),
            ("POST", f"{core}/serviceaccounts/{ACCOUNT}/token", token),
            ("POST", f"{core}/pods", pod("p", LISTED, serviceAccountName=ACCOUNT)),
            ("POST", f"/apis/batch/v1/namespaces/{locked.control}/jobs", _job()),
            ("POST", f"/apis/apps/v1/namespaces/{locked.control}/deployments", deployment("d", image=LISTED)),
            ("DELETE", f"{core}/serviceaccounts/{ACCOUNT}", None),
            ("DELETE", f"/apis/{locks.RBAC}/namespaces/{locked.control}/rolebindings/{insider_binding(locked)}", None),
        ]
        for method, path, body in attempts:
            said = refusal(insider, method, path, body)
            assert "is written by CD alone" in said or (path == f"{core}/pods" and "could be CD" in said), (path, said)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{locked.control}/leases/{locked.manager}"
    assert "is written by CD alone" in refusal(locked.admin, "DELETE", lease)


def insider_binding(world: World) -> str:
    return f"insider-{world.namespace}"


def _job() -> Body:
    template = {"spec": {**pod("j", LISTED)["spec"], "serviceAccountName": ACCOUNT, "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}


async def test_a_controller_brings_nothing_to_run_beside_cd(locked: World, sandbox: Sandbox, brigade: Cluster) -> None:
    """A Job that was there before the lock gets no pod: the control plane is refused as well."""
    path = locked.config.parent / "controller.kubeconfig"
    user = "system:kube-controller-manager"
    client_kubeconfig(sandbox.place, user=user, groups=["system:masters"], path=path, owner_uid=0)
    pods = f"/api/v1/namespaces/{locked.control}/pods"
    said = "could be CD: nothing runs in its control namespace"
    with connect(path) as controller:
        until("refusal", lambda: said in refusal(controller, "DRY", pods, pod("p", LISTED)))
    brigade.request("POST", f"/apis/batch/v1/namespaces/{locked.control}/jobs", body=_job())

    def told() -> bool:
        events = locked.admin.list(locked.admin.resource("v1", "Event"), locked.control)
        return any(said in (each.get("message") or "") for each in events)

    until("an event of the Job controller", told)
    assert locked.admin.list(locked.admin.resource("v1", "Pod"), locked.control) == ()


@pytest.fixture
def brigade(world: World, sandbox: Sandbox) -> Iterator[Cluster]:
    """The cluster's administrator, who broke the glass."""
    path = world.config.parent / "glass.kubeconfig"
    client_kubeconfig(
        sandbox.place, user="fire-brigade", groups=["system:masters", BREAK_GLASS], path=path, owner_uid=0
    )
    with connect(path) as found:
        yield found


async def test_an_administrator_breaks_the_glass_knowingly(locked: World, brigade: Cluster) -> None:
    """The cluster's administrator is refused as well; as a member of the group, which he takes on, he is not."""
    await locked.deploy()
    base = locked.path("configmaps", "base")
    assert IN_GIT in refusal(locked.admin, "DELETE", base)
    assert IN_GIT in refusal(locked.admin, "DELETE", f"/api/v1/namespaces/{locked.namespace}")
    assert refusal(brigade, "PATCH", base, {"data": {"a": "9"}}) == ""
    assert (await locked.resync()).said == "drift undone"


async def test_named_managers_pass(world: World, sandbox: Sandbox) -> None:
    """Who is named changes objects, and is held to the list of images like everybody."""
    world.push_objects("web", deployment("web"))
    locks.lock_up(world, "--manager", f"User/scaler-{world.namespace}", "--pin", FOREIGN)
    await world.deploy()
    with person(world, sandbox.place, "scaler") as scaler:
        assert refusal(scaler, "PATCH", f"{world.path('deployments', 'web', 'apps/v1')}/scale", {"spec": {}}) == ""
        pods = f"/api/v1/namespaces/{world.namespace}/pods"
        assert "no release of dev has x:1" in refusal(scaler, "POST", pods, pod("x", "x:1"))
        assert refusal(scaler, "POST", pods, pod("pinned", FOREIGN)) == ""
        scaler.request("DELETE", f"{pods}/pinned")


async def test_with_warn_it_only_warns(world: World, sandbox: Sandbox) -> None:
    """Nothing is refused yet: so one finds out who else writes."""
    locks.lock_up(world, "--warn")
    await world.deploy()
    with person(world, sandbox.place, "tenant") as tenant:
        assert refusal(tenant, "PATCH", world.path("configmaps", "base"), {"data": {"a": "2"}}) == ""


# what goes on ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes(
    cluster: Kubernetes, kwok_program: kwok.Kwok, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[str]]:
    """Two simulated nodes, on which pods become ready."""
    names, folder = ["locked-1", "locked-2"], tmp_path_factory.mktemp("kwok")
    kubeconfig = sandbox.place.kubeconfig
    with connect(kubeconfig) as admin, kwok.simulated(admin, kubeconfig, folder, names=names, report=Terminal()):
        yield names


def on_nodes(body: Body) -> Body:
    spec = body["spec"]["template"]["spec"]
    spec |= {"nodeSelector": kwok.LABEL, "tolerations": [{**kwok.TAINT, "operator": "Equal"}]}
    return body


def running(world: World, image: str = "") -> list[str]:
    """The names of pods that are ready, of an image."""
    return [
        each["metadata"]["name"]
        for each in world.admin.list(world.admin.resource("v1", "Pod"), world.namespace)
        if "deletionTimestamp" not in each["metadata"]
        and any((c["type"], c["status"]) == ("Ready", "True") for c in each["status"].get("conditions", ()))
        and image in each["spec"]["containers"][0]["image"]
    ]


def listed(world: World) -> set[str]:
    found = world.get("ConfigMap", IMAGES, namespace=world.control)
    return set((found or {}).get("data") or {})


@pytest.fixture
def keeping(world: World) -> World:
    """As `locked`, and the host keeps the list."""
    locks.configure(world)
    locks.lock_up(world)
    return world


async def test_cd_rolls_out_undoes_and_prunes(keeping: World, nodes: Sequence[str], brigade: Cluster) -> None:
    """A release brings its image onto the list before its pods, and the old one is gone when they are healthy."""
    old, new = "1a" * 32, "2b" * 32
    keeping.push_objects("web", on_nodes(deployment("web", replicas=2)), service("web"))
    await keeping.deploy()
    assert (len(running(keeping, old)), listed(keeping)) == (2, {old})

    keeping.push_objects("web", on_nodes(deployment("web", replicas=2, image=IMAGE.replace(old, new))))
    await keeping.deploy()
    assert (len(running(keeping, new)), listed(keeping)) == (2, {new})
    assert keeping.get("Service", "web") is None

    assert (await keeping.plan()).drifted == (), "its own policies are no strangers"

    web = keeping.path("deployments", "web", "apps/v1")
    assert refusal(brigade, "PATCH", web, {"spec": {"replicas": 1}}) == ""
    assert (await keeping.resync()).said == "drift undone"
    keeping.remove("web")
    await keeping.deploy()
    until("the end of its pods", lambda: not keeping.admin.list(keeping.admin.resource("v1", "Pod"), keeping.namespace))
    assert listed(keeping) == set()


async def test_autoscaling_node_failure_and_eviction_go_on(keeping: World, nodes: Sequence[str]) -> None:
    """The HPA controller scales, an evicted pod comes back, and those of a node that died too."""
    body = on_nodes(deployment("web", replicas=1))
    del body["spec"]["replicas"]
    scaler = _autoscaler("web", "web")
    keeping.push_objects("web", body, scaler)
    await keeping.deploy()
    until("three pods", lambda: len(running(keeping)) == 3)

    first = running(keeping)[0]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first}}
    keeping.admin.request("POST", f"{keeping.path('pods', first)}/eviction", body=eviction)
    until("a pod in its place", lambda: len(found := running(keeping)) == 3 and first not in found)

    gone = {"key": "gone", "value": "yes", "effect": "NoExecute"}  # as the cluster does with a node that is silent
    try:
        locks.patch(keeping.admin, "/api/v1/nodes/locked-1", {"spec": {"taints": [kwok.TAINT, gone]}})
        until("pods on the other node", lambda: len(running(keeping)) == 3 and places(keeping) == {"locked-2"})
    finally:
        locks.patch(keeping.admin, "/api/v1/nodes/locked-1", {"spec": {"taints": [kwok.TAINT]}})
    assert (await keeping.resync()).said == "in sync"


def places(world: World) -> set[str]:
    return {p["spec"].get("nodeName", "") for p in world.admin.list(world.admin.resource("v1", "Pod"), world.namespace)}


async def test_a_list_that_was_lost_is_made_again(keeping: World, brigade: Cluster) -> None:
    """Without it nothing new runs; the next resync writes it, although there is nothing else to do."""
    keeping.push_objects("web", deployment("web"))
    await keeping.deploy()
    path = f"/api/v1/namespaces/{keeping.control}/configmaps/{IMAGES}"
    brigade.request("DELETE", path)
    until("refusal", lambda: refusal(keeping.admin, "DRY", keeping.path("pods", "")[:-1], pod("a", LISTED)))
    assert (await keeping.resync()).said == "in sync"
    assert listed(keeping) == {"1a" * 32}


async def test_a_lock_that_was_removed_or_opened_is_told(keeping: World) -> None:
    """Every run says which policy or binding is gone or changed; the ledger hears of it once, and of its end."""
    quiet = Recorder()
    await keeping.deploy(quiet)
    assert "lock" not in {report.key for report in quiet.reports}
    root = "/apis/admissionregistration.k8s.io/v1"
    name = f"interlock-{keeping.environment_id}-objects"
    keeping.merge(f"{root}/validatingadmissionpolicybindings/{name}", {"spec": {"validationActions": ["Audit"]}})
    keeping.delete(f"{root}/validatingadmissionpolicies/interlock-{keeping.environment_id}-images")

    told = Recorder()
    await keeping.resync(told)

    rows = [row[0] for row in told.report("lock").tables[0].rows]
    assert rows == [
        f"ValidatingAdmissionPolicy/interlock-{keeping.environment_id}-images is gone",
        f"ValidatingAdmissionPolicyBinding/{name} was changed",
    ]
    assert "lock:weakened" in told.tags
    await keeping.resync(told)
    locks.lock_up(keeping)  # also what an apply would leave: the action that somebody added
    await keeping.resync(told)
    assert [said for kind, said in keeping.receipts() if kind == "drift"] == ["lock-weakened", "lock-restored"]


async def test_thousands_of_images_are_within_the_servers_budget(keeping: World, brigade: Cluster) -> None:
    """A list of 5,000 digests and a pod of 40 containers: judged."""
    digests = {f"{number:064x}": "registry.example/shop/some-component-of-ours" for number in range(5000)}
    path = f"/api/v1/namespaces/{keeping.control}/configmaps/{IMAGES}"
    locks.patch(brigade, path, {"data": digests})
    images = [f"registry.example/shop/web@sha256:{number:064x}" for number in range(4960, 5000)]
    body = pod("many", images[0])
    body["spec"]["containers"] = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    pods = keeping.path("pods", "")[:-1]
    until("the list", lambda: refusal(keeping.admin, "DRY", pods, body) == "")
    body["spec"]["containers"][39]["image"] = FOREIGN
    assert f"no release of dev has {FOREIGN}" in refusal(keeping.admin, "DRY", pods, body)
