"""What RBAC has to give CD, how its lack is told, and that a tenant cannot reach what CD keeps."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import git
import pytest
import yaml

from interlock.cd.control import ACCOUNT, FENCE, is_extra, role_name
from interlock.cd.objects import Body
from interlock.cli.main import main
from interlock.contract.report import Report
from interlock.errors import Blocked, ClusterError
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster, connect
from tests.cluster.worlds import USER, Recorder, World, config_map, deployment, secret

RBAC = "rbac.authorization.k8s.io/v1"


def _narrow(world: World, *plurals: str) -> None:
    """The Role in the environment's namespace, without these kinds."""
    role = world.get("Role", role_name(world.control), RBAC)
    assert role is not None
    for rule in role["rules"]:
        rule["resources"] = [name for name in rule["resources"] if name not in plurals]
    role["rules"] = [rule for rule in role["rules"] if rule["resources"]]
    world.admin.replace(role, manager="admin")


async def test_a_missing_right_is_named_and_the_role_that_gives_it_is_printed(world: World) -> None:
    """Verb, kind and namespace; nothing is written; what is printed, applied as it is, lets the next run through."""
    await world.deploy()
    _narrow(world, "deployments")
    world.push_objects("web", deployment())
    world.push_objects("beside", config_map("beside", {"a": "1"}))
    presenter = Recorder()

    with pytest.raises(Blocked, match=f"patch deployments.apps in {world.namespace}"):
        await world.deploy(presenter)

    assert world.get("ConfigMap", "beside") is None
    report = presenter.report("permissions")
    assert {("create", "deployments.apps", world.namespace), ("patch", "deployments.apps", world.namespace)} <= set(
        report.tables[0].rows
    )
    for body in _printed(report):
        world.admin.apply(body, manager="admin")
    await world.deploy()
    assert any(is_extra(body["metadata"]["name"], role_name(world.control)) for body in _roles(world))
    assert bootstrap(world, kubeconfig=world.kubeconfig)[0] == 0
    assert [body["metadata"]["name"] for body in _roles(world)] == [role_name(world.control)] * 2
    assert world.get("Deployment", "web", "apps/v1") is not None
    plan = await world.plan()
    assert plan.empty
    assert not plan.drifted


def _roles(world: World) -> list[Body]:
    kinds = ("Role", "RoleBinding")
    return [body for kind in kinds for body in world.admin.list(world.admin.resource(RBAC, kind), world.namespace)]


def _printed(report: Report) -> list[Body]:
    """The Roles and bindings of the report, read from its text as an administrator would copy it."""
    text = report.markdown.partition("or applies just what is missing:")[2]
    return list(yaml.safe_load_all("\n".join(line.removeprefix("    ") for line in text.splitlines())))


@pytest.mark.parametrize("kind", ["deployments", "secrets"])
async def test_a_plan_says_what_a_sync_says(world: World, kind: str) -> None:
    """Who only looks learns the same, in the same words: verb, kind, namespace, command and Role."""
    await world.deploy()
    _narrow(world, kind)
    world.push_objects("s", secret("s", {"a": "b"}), deployment())
    planned, synced = Recorder(), Recorder()

    plan = await world.plan(planned)
    with pytest.raises(Blocked) as stopped:
        await world.deploy(synced)

    assert planned.report("permissions") == synced.report("permissions")
    assert planned.report("plan").data["digest"] == synced.report("plan").data["digest"]  # type: ignore[index]
    (blocked,) = plan.stops
    assert f"{USER} may not " in blocked.reason
    assert f"patch {kind}" in blocked.reason
    assert f"in {world.namespace}" in blocked.reason
    assert blocked.reason in str(stopped.value)
    command = f"interlock bootstrap cluster dev --kubeconfig ADMIN --control-namespace {world.control} --user {USER}"
    assert command in planned.report("permissions").markdown


# a tenant --------------------------------------------------------------------------------------------


@pytest.fixture
def tenant(world: World, sandbox: Sandbox) -> Iterator[Cluster]:
    """A user with the built-in role `edit` in the application's namespace."""
    metadata = {"name": "tenant", "namespace": world.namespace}
    binding = {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": f"tenant-{world.namespace}", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    world.admin.apply(binding, manager="admin")
    path = world.config.parent / "tenant.kubeconfig"
    client_kubeconfig(sandbox.place, user=f"tenant-{world.namespace}", path=path, owner_uid=0)
    with connect(path) as found:
        yield found


async def test_a_tenant_moves_neither_record_nor_lock_nor_inventory(world: World, tenant: Cluster) -> None:
    """With `edit` in the application's namespace he writes there, and nothing in the control namespace."""
    await world.deploy()
    own = {**config_map("own", {"a": "1"}), "metadata": {"name": "own", "namespace": world.namespace}}
    tenant.create(own, manager="tenant")
    kinds = (("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount"), ("coordination.k8s.io/v1", "Lease"))
    before = {kind: world.admin.list(world.admin.resource(version, kind), world.control) for version, kind in kinds}
    assert all(before[kind] for kind in ("ConfigMap", "ServiceAccount", "Lease"))

    for version, kind in kinds:
        path = world.admin.resource(version, kind).path(world.control)
        new: Body = {"apiVersion": version, "kind": kind, "metadata": {"name": "forged", "namespace": world.control}}
        attempts = [("POST", path, new), ("GET", path, None)]
        for live in before[kind]:
            one = f"{path}/{live['metadata']['name']}"
            attempts += [("GET", one, None), ("PUT", one, live), ("DELETE", one, None)]
        for method, target, body in attempts:
            with pytest.raises(ClusterError) as refused:
                tenant.request(method, target, body=body)
            assert refused.value.status == 403, (method, target)

    after = {kind: world.admin.list(world.admin.resource(version, kind), world.control) for version, kind in kinds}
    assert after == before


async def test_a_tenant_cannot_make_a_token_of_ours(world: World, tenant: Cluster) -> None:
    """Neither a token of the account that runs write with, nor a pod that would carry one, nor its rights."""
    await world.deploy()
    core = f"/api/v1/namespaces/{world.control}"
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": ACCOUNT, "containers": [{"name": "c", "image": "x"}]},
    }
    binding = {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name(world.control)},
        "subjects": [{"kind": "User", "name": f"tenant-{world.namespace}", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    roles = f"/apis/{RBAC}/namespaces"
    for method, path, body in (
        ("POST", f"{core}/serviceaccounts/{ACCOUNT}/token", token),
        ("POST", f"{core}/pods", pod),
        ("GET", f"{core}/secrets/{FENCE}", None),
        ("POST", f"{roles}/{world.control}/rolebindings", binding),
        ("POST", f"{roles}/{world.namespace}/rolebindings", binding),
    ):
        with pytest.raises(ClusterError) as refused:
            tenant.request(method, path, body=body)
        assert refused.value.status == 403, path


# bootstrap -------------------------------------------------------------------------------------------


def bootstrap(world: World, *more: str, kubeconfig: Path | None, control: str | None = "") -> tuple[int, str, str]:
    """The command in a clone of the environment repository; exit code, stdout, stderr. Without a `control` namespace
    when that is None.
    """
    clone = world.config.parent / f"clone-{world.head[:12]}"
    if not clone.exists():
        git.Repo.clone_from(str(world.repository.bare), clone, branch="main").close()
    words = ["bootstrap", "cluster", "dev", "--repository", str(clone)]
    words += ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    words += [] if control is None else ["--control-namespace", control or world.control]
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main([*words, "--user", USER, *more])
    return code, said.getvalue(), told.getvalue()


def _rights(text: str) -> set[tuple[str, str, str, str]]:
    """(kind of the role, group, plural, verb) of all roles that are printed."""
    return {
        (body["kind"], group, plural, verb)
        for body in yaml.safe_load_all(text)
        for rule in body.get("rules", ())
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }


def _written(world: World) -> set[str]:
    """The kinds that CD may write in the environment's namespace."""
    role = world.get("Role", role_name(world.control), RBAC)
    assert role is not None
    return {plural for rule in role["rules"] if "patch" in rule["verbs"] for plural in rule["resources"]}


async def test_bootstrap_gives_the_kinds_of_git_and_what_is_owned_still(world: World, sandbox: Sandbox) -> None:
    """Only those may be written; a new kind is blocked until it runs again; what left Git can be pruned still."""
    admin = sandbox.place.kubeconfig
    world.push_objects("web", deployment())
    assert bootstrap(world, kubeconfig=admin)[0] == 0
    assert _written(world) == {"configmaps", "deployments"}
    await world.deploy()

    world.push_objects("s", secret("s", {"a": "b"}))
    with pytest.raises(Blocked, match="patch secrets in"):
        await world.deploy()
    assert bootstrap(world, kubeconfig=admin)[0] == 0
    await world.deploy()

    world.remove("web")
    assert bootstrap(world, kubeconfig=admin)[0] == 0
    assert _written(world) == {"configmaps", "deployments", "secrets"}
    await world.deploy()
    assert world.get("Deployment", "web", "apps/v1") is None
    assert bootstrap(world, kubeconfig=admin)[0] == 0
    assert _written(world) == {"configmaps", "secrets"}
    assert (await world.resync()).said == "in sync"


def test_bootstrap_heeds_the_hosts_own_file(world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CD host the control namespace is cd.yaml's; what contradicts it, or asks for more, is an error."""
    admin = sandbox.place.kubeconfig
    monkeypatch.setenv("INTERLOCK_CONFIG", str(world.config))
    assert bootstrap(world, kubeconfig=admin, control=None)[0] == 0
    assert _written(world) == {"configmaps"}
    code, _, told = bootstrap(world, kubeconfig=admin, control="elsewhere")
    assert (code, f"cd.yaml has {world.control} for dev" in told) == (2, True)
    world.decide(cluster_kinds=["PriorityClass"])
    code, _, told = bootstrap(world, kubeconfig=admin, control=None)
    assert (code, "asks for kind PriorityClass, which cd.yaml does not give it" in told) == (2, True)


async def test_without_rights_on_the_record_it_says_what_to_run(world: World) -> None:
    """Plan and sync alike: what may not be done in the control namespace, and the command."""
    await world.deploy()
    role = world.admin.get(world.admin.resource(RBAC, "Role"), role_name(world.control), world.control)
    assert role is not None
    world.admin.replace({**role, "rules": role["rules"][1:]}, manager="admin")
    command = f"interlock bootstrap cluster dev --kubeconfig ADMIN --control-namespace {world.control} --user {USER}"
    for order in (world.plan, world.deploy):
        presenter = Recorder()
        with pytest.raises(Blocked, match=f"it may not get configmaps in {world.control}") as stopped:
            await order(presenter)
        assert command in stopped.value.hint
        for body in _printed(presenter.report("permissions")):
            assert body["metadata"]["namespace"] == world.control
    for body in _printed(presenter.report("permissions")):
        world.admin.apply(body, manager="admin")
    assert (await world.deploy()).said == "in sync"


def _bind(world: World, kind: str, role: str, subject: Body, name: str) -> Body:
    metadata = {"name": name} | ({"namespace": world.control} if kind == "RoleBinding" else {})
    body = {
        "apiVersion": RBAC,
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
    return world.admin.apply(body, manager="admin").body


GROUP = {"kind": "Group", "name": "platform", "apiGroup": "rbac.authorization.k8s.io"}
EVERYBODY = {"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}
OPERATOR = {"kind": "ServiceAccount", "name": "operator", "namespace": "tools"}


@pytest.mark.parametrize(
    ("kind", "role", "subject", "named"),
    [
        ("RoleBinding", "edit", GROUP, "Group/platform"),
        ("RoleBinding", "admin", OPERATOR, "ServiceAccount/tools/operator"),
        ("ClusterRoleBinding", "edit", GROUP, "Group/platform"),
        ("ClusterRoleBinding", "cluster-admin", EVERYBODY, "Group/system:authenticated"),
    ],
)
def test_bootstrap_refuses_a_control_namespace_that_others_write(
    world: World, sandbox: Sandbox, *, kind: str, role: str, subject: Body, named: str
) -> None:
    """Whoever may write there is named with the binding, and no right is given; who is meant is accepted by name."""
    made = _bind(world, kind, role, subject, f"audited-{world.namespace}")
    before = _written(world)
    try:
        code, _, told = bootstrap(world, kubeconfig=sandbox.place.kubeconfig)
        assert (code, _written(world)) == (3, before)
        assert f"{named} may" in told
        assert f"by {kind} audited-{world.namespace}" in told
        assert bootstrap(world, "--accept", named, kubeconfig=sandbox.place.kubeconfig)[0] == 0
    finally:
        resource = world.admin.resource(RBAC, kind)
        world.delete(resource.path(made["metadata"].get("namespace", ""), made["metadata"]["name"]))


def test_bootstrap_only_tells_of_cluster_administrators(world: World, sandbox: Sandbox) -> None:
    """Who may do everything may do this too: a warning. Readers are not worth one."""
    admins = _bind(world, "ClusterRoleBinding", "cluster-admin", GROUP, f"admins-{world.namespace}")
    reader = {**GROUP, "name": "readers"}
    _bind(world, "RoleBinding", "view", reader, "readers")
    try:
        code, _, told = bootstrap(world, kubeconfig=sandbox.place.kubeconfig)
    finally:
        world.delete(world.admin.resource(RBAC, "ClusterRoleBinding").path("", admins["metadata"]["name"]))
    assert code == 0
    assert "warning: Group/platform may write" in told
    assert "readers" not in told


def test_bootstrap_prints_what_it_would_write(world: World, sandbox: Sandbox) -> None:
    """--dry-run writes nothing; without a cluster it knows the built-in kinds, and says so of another."""
    before = _written(world)
    code, with_cluster, _ = bootstrap(world, "--dry-run", kubeconfig=sandbox.place.kubeconfig)
    assert (code, _written(world)) == (0, before)
    code, without, _ = bootstrap(world, "--dry-run", kubeconfig=None)
    assert code == 0
    asked, unasked = (_rights(text) for text in (with_cluster, without))
    assert unasked <= asked
    assert {verb for *_, verb in asked - unasked} <= {"list"}, "only a cluster knows what else there is to look at"
    assert bootstrap(world, kubeconfig=None)[0] == 2
    world.push_objects("w", {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}})
    code, _, told = bootstrap(world, "--dry-run", kubeconfig=None)
    assert code == 2
    assert "only the cluster knows how it serves example.org/v1 Widget" in told
