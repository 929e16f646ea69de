"""New objects are held against the server's own schemas: bad ones are found before anything is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flows.cd.plan import plan_order
from interlock.cd.objects import Body
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.errors import Blocked, ClusterError
from tasks.cd.cluster import Cluster
from tasks.cd.schemas import ServerSchemas
from tests.cluster.worlds import USER, Recorder, World, config_map, deployment, manifest_path, secret


@pytest.fixture
def dry_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects that a plan sends to a dry run."""
    names: list[str] = []
    apply = Cluster.apply

    def counted(self: Cluster, body: Body, *, dry_run: bool = False, **how: Any) -> Any:
        if dry_run:
            names.append(body["metadata"]["name"])
        return apply(self, body, dry_run=dry_run, **how)

    monkeypatch.setattr(Cluster, "apply", counted)
    return names


def item(plan: Plan, name: str) -> PlanItem:
    (found,) = [each for each in plan.items if each.identity.name == name]
    return found


async def test_one_of_each_kind_is_tried(world: World, dry_runs: list[str]) -> None:
    """Twenty new ConfigMaps and a Secret that fit their schemas cost two dry runs, and all are made."""
    await world.deploy()
    dry_runs.clear()
    world.push_objects("many", *(config_map(f"m{n:02}", {"a": str(n)}) for n in range(20)), secret("s", {"a": "b"}))
    await world.deploy()
    assert sorted(set(dry_runs)) == ["m00", "s"]
    assert world.get("ConfigMap", "m19")


async def test_a_misspelt_field_is_found_before_anything_is_written(world: World) -> None:
    """The field, what was meant, the template's line; the neighbours are not written either."""
    bad = deployment("bad")
    bad["spec"]["template"]["spec"]["containers"][0]["imagePullPolicyy"] = "Always"
    world.push_objects("good", config_map("good", {"a": "b"}))
    world.push_objects("bad", deployment("fine"), bad)
    plan = await world.plan()
    reason = item(plan, "bad").reason
    assert item(plan, "bad").action == Action.BLOCKED
    assert "containers[0].imagePullPolicyy: unknown field (did you mean imagePullPolicy?)" in reason
    assert f"at {manifest_path('bad')}:" in reason
    with pytest.raises(Blocked, match="imagePullPolicyy"):
        await world.deploy()
    assert world.get("ConfigMap", "good") is None
    world.remove("bad")
    assert (await world.deploy()).said == "deployed"


async def test_what_no_schema_says_is_found_too(world: World) -> None:
    """Label values, names, selectors: each is named, and no dry run of the others was needed."""
    labelled = config_map("labelled", {})
    labelled["metadata"]["labels"] = {"a": "not a label"}
    stray = deployment("stray")
    stray["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    world.push_objects("bad", labelled, config_map("Named", {}), stray, secret("s", {"a/b": "c"}))
    plan = await world.plan()
    assert {each.identity.name for each in plan.having(Action.BLOCKED)} == {"labelled", "Named", "stray", "s"}
    assert "metadata.labels.a: is no label's value" in item(plan, "labelled").reason
    assert "is no name for a ConfigMap" in item(plan, "Named").reason
    assert "do not carry this label" in item(plan, "stray").reason


async def test_the_server_has_the_last_word(world: World) -> None:
    """What our copy of the rules would refuse and the server takes is made: null stands for what is left out."""
    body = deployment("nulls")
    body["spec"]["template"]["spec"]["volumes"] = None
    body["metadata"]["annotations"] = None
    world.push_objects("nulls", body)
    assert (await world.deploy()).said == "deployed"


async def test_an_admission_policy_is_asked_about_every_object(world: World, dry_runs: list[str]) -> None:
    """Where a policy may judge a kind, the second bad object is found before the first good one is written."""
    await world.deploy()
    with _reading_admission(world), _policy(world, allow="!object.metadata.name.startsWith('bad')"):
        dry_runs.clear()
        world.push_objects("many", *(config_map(name, {}) for name in ("a1", "a2", "bad")))
        with pytest.raises(Blocked, match="bad"):
            await world.deploy()
        assert {"a1", "a2", "bad"} <= set(dry_runs)
        assert world.get("ConfigMap", "a1") is None


async def test_admission_that_cannot_be_read_is_told(world: World, dry_runs: list[str]) -> None:
    """Without the right to read it one object of each kind is tried, the plan says so, and --prove-all tries all."""
    world.push_objects("many", *(config_map(name, {}) for name in ("a1", "a2")))
    plan = await world.plan()
    assert any("--prove-all" in note for note in plan.notes)
    dry_runs.clear()
    plan = await plan_order(Recorder(), world.host, "dev", prove_all=True)
    assert {"a1", "a2"} <= set(dry_runs)
    assert plan.notes == ()


async def test_schemas_are_fetched_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second plan reads them from disk; a spoilt file is fetched again."""
    asked: list[str] = []
    request = Cluster.request

    def counted(self: Cluster, method: str, path: str, **how: Any) -> Any:
        asked.append(path)
        return request(self, method, path, **how)

    monkeypatch.setattr(Cluster, "request", counted)
    for expected in (True, False):
        asked.clear()
        await world.plan()
        assert ("/openapi/v3/api/v1" in asked) is expected
    (kept,) = (world.host.state / "schemas").iterdir()
    kept.write_bytes(b"{")
    asked.clear()
    await world.plan()
    assert "/openapi/v3/api/v1" in asked


def test_no_usual_object_is_a_misfit(world: World) -> None:
    """Of what the server itself made, nothing fails its schema: nobody is blocked by our reading of OpenAPI."""
    server = ServerSchemas(world.admin, None)
    kinds = [
        ("v1", "ServiceAccount"),
        ("v1", "Namespace"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("v1", "Service"),
        ("v1", "ConfigMap"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
    ]
    for kind in kinds:
        schema = server.find(*kind)
        assert schema
        for body in world.admin.list(world.admin.resource(*kind)):
            assert schema.problems(body) == ()


@contextmanager
def _policy(world: World, *, allow: str) -> Iterator[None]:
    """A ValidatingAdmissionPolicy about ConfigMaps in the world's namespace."""
    name = world.namespace
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    group = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
            "validations": [{"expression": allow}],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    world.admin.apply(policy, manager="admin")
    world.admin.apply(binding, manager="admin")
    try:
        _wait_for_policy(world)
        yield
    finally:
        for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            world.delete(f"/apis/{group}/{plural}/{name}")


def _wait_for_policy(world: World) -> None:
    probe = {**config_map("bad-probe", {}), "metadata": {"name": "bad-probe", "namespace": world.namespace}}
    for _ in range(200):
        try:
            world.admin.apply(probe, manager="admin", dry_run=True)
        except ClusterError:
            return
        time.sleep(0.1)
    raise AssertionError("the policy does not hold")


@contextmanager
def _reading_admission(world: World) -> Iterator[None]:
    """CD may read the cluster's admission configuration meanwhile."""
    group, name = "rbac.authorization.k8s.io", f"{world.namespace}-admission"
    rule = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]}
    of_it = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    role = {**of_it, "kind": "ClusterRole", "rules": [rule]}
    subject = {"kind": "User", "name": USER, "apiGroup": group}
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    binding = {**of_it, "kind": "ClusterRoleBinding", "subjects": [subject], "roleRef": reference}
    world.admin.apply(role, manager="admin")
    world.admin.apply(binding, manager="admin")
    try:
        yield
    finally:
        for plural in ("clusterrolebindings", "clusterroles"):
            world.delete(f"/apis/{group}/v1/{plural}/{name}")
