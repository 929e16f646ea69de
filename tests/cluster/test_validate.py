"""New objects are held against the server's own schemas: bad ones are found before anything is written."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from flows.cd.plan import plan_order
from interlock.cd.control import Subject, control_manifests
from interlock.cd.objects import Body
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract import layout
from interlock.contract.manifest import Manifest
from interlock.contract.validation import misfit_by
from interlock.errors import Blocked, ClusterError, FormatError
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster
from tasks.cd.schemas import ServerSchemas
from tasks.common.kubernetes_schemas import schemas
from tests.cluster.worlds import (
    USER,
    Recorder,
    World,
    config_map,
    deployment,
    everything,
    manifest_path,
    secret,
    service,
)
from tests.pod_security import CASES, Case


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


async def test_a_misspelt_field_of_what_lives_is_told_as_well(world: World) -> None:
    """The same of an object that exists: field, what was meant, the line; beside what else the server says of it."""
    world.push_objects("web", deployment(), service())
    await world.deploy()
    body, other = deployment(), service()
    body["spec"]["replica"] = 2
    other["spec"]["ports"][0]["targetport"] = 1
    world.push_objects("web", body, other)
    plan = await world.plan()
    reasons = {each.identity.kind: each.reason for each in plan.having(Action.BLOCKED)}
    assert reasons["Deployment"].startswith("spec.replica: unknown field (did you mean replicas?)")
    assert reasons["Service"].startswith("spec.ports[0].targetport: unknown field (did you mean targetPort?)")
    assert all(f" at {manifest_path('web')}:" in reason for reason in reasons.values())


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


async def test_admission_that_cannot_be_read_is_told(world: World, sandbox: Sandbox, dry_runs: list[str]) -> None:
    """Without the right to read it one object of each kind is tried, the plan says so, and --prove-all tries all."""
    world.push_objects("many", *(config_map(name, {}) for name in ("a1", "a2")))
    _as_a_user_without_admission(world, sandbox)
    presenter = Recorder()
    plan = await world.plan(presenter)
    hooks = "validatingwebhookconfigurations.admissionregistration.k8s.io"
    assert ("list", hooks, "(in the whole cluster)") in presenter.report("permissions").tables[0].rows
    assert any("--prove-all" in note for note in plan.notes)
    dry_runs.clear()
    plan = await plan_order(Recorder(), world.host, "dev", prove_all=True)
    assert {"a1", "a2"} <= set(dry_runs)
    assert plan.notes == ()


def _as_a_user_without_admission(world: World, sandbox: Sandbox) -> None:
    """The other tests' worlds give the usual user their rights, too."""
    name = f"cd-{world.namespace}"
    made = control_manifests(
        control_namespace=world.control,
        namespaces=[world.namespace],
        subject=Subject("User", name),
        reach=everything(world.admin),
    )
    for body in made:
        rules = [rule for rule in body.get("rules", ()) if rule["apiGroups"] != ["admissionregistration.k8s.io"]]
        world.admin.apply({**body, **({"rules": rules} if rules else {})}, manager="admin", force=True)
    client_kubeconfig(sandbox.place, user=name, path=world.host.clusters["sandbox"].kubeconfig, owner_uid=0)


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


CONTAINERS: tuple[dict[str, Any], ...] = (
    {},
    {"name": "Web"},
    {"name": "a" * 64},
    {"imagee": "x"},
    {"command": "sleep"},
    {"ports": [{"containerPort": 0}]},
    {"ports": [{"containerPort": 65536}]},
    {"ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
    {"ports": [{"containerPort": 80}, {"containerPort": 80}]},
    {"ports": [{"containerPort": 80, "name": "a-name-too-long-x"}]},
    {"ports": [{"containerPort": 80, "name": "80"}]},
    {"ports": [{"containerPort": 80, "name": "8a"}]},
    {"ports": [{"containerPort": 80, "name": "a--b"}]},
    {"ports": [{"name": "http"}]},
    {"env": [{"name": "a.b-C"}, {"name": "UPPER", "value": None}]},
    {"env": [{"name": "a=b"}]},
    {"env": [{"name": ""}]},
    {"env": [{"name": "A"}, {"name": "A"}]},
    {"env": [{"name": "A", "value": 1}]},
    {"resources": {"limits": {"cpu": "1 core"}}},
    {"resources": {"limits": {"memory": "1GiB"}}},
    {"resources": {"limits": {"cpu": 1.5, "memory": "1e3", "ephemeral-storage": "+1Ki"}}},
    {"resources": {"limits": {"cpu": ".5", "memory": "1."}}},
    {"resources": {"limits": {"cpu": True}}},
    {"volumeMounts": [{"name": "data", "mountPath": "/d"}]},
    {"imagePullPolicy": "Sometimes"},
    {"readinessProbe": {"httpGet": {"path": "/", "port": []}}},
)
OBJECTS: tuple[dict[str, Any], ...] = (
    config_map("c.d-e", {"a.b_c-D": "x"}),
    config_map("C", {}),
    config_map("a_b", {}),
    config_map("a" * 254, {}),
    config_map("c", {"a/b": "x"}),
    config_map("c", {"..": "x"}),
    {**config_map("c", {}), "metadata": {"name": "c", "labels": {"a": ""}}},
    {**config_map("c", {}), "metadata": {"name": "c", "labels": {"a": "-"}}},
    {**config_map("c", {}), "metadata": {"name": "c", "labels": {"a": "b" * 64}}},
    {**config_map("c", {}), "metadata": {"name": "c", "labels": {"A_b.org/c": "x"}}},
    {**config_map("c", {}), "metadata": {"name": "c", "annotations": {"Example.org/c": "any text"}}},
    {**config_map("c", {}), "metadata": {"name": "c", "annotations": {"a b": "x"}}},
    {**config_map("c", {}), "binaryData": {"a": "aGk="}},
    {**config_map("c", {}), "binaryData": {"a": "no!"}},
    {**secret("s", {}), "data": {"a": "plain!"}},
    {**secret("s", {}), "data": {"a": "aGk="}},
    {**secret("s", {}), "data": {"a": "aGk"}},
    service("a" * 64),
    service("a.b"),
    {**service(), "spec": {"ports": [{"port": 0}]}},
    {**service(), "spec": {"ports": [{"port": 1, "name": "a"}, {"port": 2}]}},
    {**service(), "spec": {"clusterIP": "None"}},
    {**service(), "spec": {}},
    {**service(), "spec": {"type": "ExternalName", "externalName": "a.example"}},
)


def _examples() -> Iterator[Body]:
    for number, container in enumerate(CONTAINERS):
        body = deployment(f"d{number}")
        body["spec"]["template"]["spec"]["containers"][0] |= container
        yield body
    for kind, template in (("Job", {}), ("Job", {"restartPolicy": "Never"}), ("CronJob", {"restartPolicy": "Never"})):
        pod = {"spec": {"containers": [{"name": "a", "image": "x"}], **template}}
        job: dict[str, Any] = {"template": pod}
        spec = job if kind == "Job" else {"schedule": "* * * * *", "jobTemplate": {"spec": job}}
        for name in ("j", "j" * 53):
            yield {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    stray = deployment("stray")
    stray["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    yield stray
    yield from OBJECTS


def test_our_reading_is_the_server_s(world: World) -> None:
    """Of many right and wrong objects, just those are told of that the real server refuses, also without its schema."""
    server, offline = ServerSchemas(world.admin, None), schemas("")
    wrong: list[str] = []
    for body in _examples():
        placed = {**body, "metadata": {**body["metadata"], "namespace": world.namespace}}
        manifest = Manifest(placed, "shop", {})
        try:
            world.admin.apply(placed, manager="admin", dry_run=True)
            said = ""
        except ClusterError as error:
            said = error.message
        for name, schema in (("server", server.find(*manifest.type)), ("offline", offline.find(*manifest.type))):
            found = misfit_by(schema, manifest)
            if bool(found) != bool(said):
                wrong.append(f"{name}: {body['metadata']['name'][:20]}: we say {found}, the server {said!r}")
    assert wrong == []


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


# rules -----------------------------------------------------------------------------------------------

DENY = "format: 1\nrules:\n  - {{name: frozen, match: {{kinds: [ConfigMap]}}, expression: '{}'}}\n"


def reaching(name: str = "bad") -> Body:
    body = deployment(name)
    body["spec"]["template"]["spec"]["volumes"] = [{"name": "node", "hostPath": {"path": "/"}}]
    return body


async def test_a_default_rule_holds_without_a_file(world: World) -> None:
    """A hostPath volume is blocked with the rule's name, and nothing of it is written."""
    world.push_objects("bad", reaching())
    plan = await world.plan()
    assert item(plan, "bad").action == Action.BLOCKED
    assert item(plan, "bad").reason.startswith("no-host-path: a hostPath volume reaches into the node at ")
    with pytest.raises(Blocked, match="no-host-path"):
        await world.deploy()
    assert world.get("Deployment", "bad", "apps/v1") is None


async def test_a_waiver_lets_it_pass(world: World) -> None:
    """With an owner and an end, and the plan says so."""
    today = dt.datetime.now(dt.UTC).date()
    finding = f"no-host-path@Deployment/{world.namespace}/bad"
    why = {"component": "*", "reason": "it is a driver", "owner": "ada", "ends": str(today)}
    world.push({layout.WAIVERS: yaml.safe_dump({"format": 1, "waivers": [{"finding": finding, **why}]})})
    world.push_objects("bad", reaching())
    plan = await world.plan()
    assert item(plan, "bad").action == Action.CREATE
    assert any("waived by ada until" in note for note in plan.notes)
    assert (await world.deploy()).said == "deployed"


async def test_no_commit_waives_what_it_does_itself(world: World) -> None:
    """A waiver that comes with what it lets pass does not count yet, however often the commit is tried; by itself it is
    noted, and the next commit is free. What it lets pass is so no more once it is taken away.
    """
    await world.deploy()
    today = dt.datetime.now(dt.UTC).date()
    why = {"component": "*", "reason": "it is a driver", "owner": "ada", "ends": str(today)}
    waiver = yaml.safe_dump({"format": 1, "waivers": [{"finding": "no-host-path", **why}]})
    world.push({layout.WAIVERS: waiver, manifest_path("bad"): yaml.safe_dump(reaching())})
    for _ in range(2):
        with pytest.raises(Blocked, match="commit the waiver by itself first"):
            await world.deploy()
    assert world.get("Deployment", "bad", "apps/v1") is None
    world.remove("bad")
    assert (await world.deploy()).note == "the commit changes nothing here"
    world.push_objects("bad", reaching())
    assert (await world.deploy()).said == "deployed"
    world.push({layout.WAIVERS: None, manifest_path("bad"): yaml.safe_dump(reaching("bad2"))})
    with pytest.raises(Blocked, match="no-host-path: a hostPath volume reaches into the node at"):
        await world.deploy()


async def test_no_commit_loosens_the_rule_that_judges_it(world: World) -> None:
    """A commit that takes a rule away and breaks it is blocked; taken away by itself, the next commit is free."""
    rule = 'object.metadata.name != "c" || object.data.a == "1"'
    world.push({layout.RULES: DENY.format(rule)})
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    breaking = yaml.safe_dump(config_map("c", {"a": "2"}))
    world.push({layout.RULES: None, manifest_path("c"): breaking})
    with pytest.raises(Blocked, match=r"frozen: .*a rule of [0-9a-f]{12}, which still judges this commit"):
        await world.deploy()
    world.push({manifest_path("c"): yaml.safe_dump(config_map("c", {"a": "1"}))})
    assert (await world.deploy()).note == "the commit changes nothing here"
    world.push({manifest_path("c"): breaking})
    assert (await world.deploy()).said == "deployed"


async def test_what_lives_is_not_judged_again(world: World) -> None:
    """A new rule blocks no object that stays as it is, and drift of one that breaks it is undone all the same."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.push({layout.RULES: DENY.format("false")})
    world.push_objects("s", secret("s", {"a": "b"}))
    assert (await world.deploy()).said == "deployed"
    world.merge(world.path("configmaps", "c"), {"data": {"a": "9"}})
    assert (await world.resync()).said == "drift undone"
    world.push_objects("c", config_map("c", {"a": "2"}))
    with pytest.raises(Blocked, match="frozen"):
        await world.deploy()


async def test_a_warning_is_a_note(world: World) -> None:
    """It stops nothing, and the plan has it."""
    world.push({layout.RULES: DENY.format("false").replace("expression", "severity: warn, expression")})
    plan = await world.plan()
    assert any(note.startswith(f"ConfigMap/{world.namespace}/base: frozen: must hold") for note in plan.notes)
    assert (await world.deploy()).said == "deployed"


async def test_a_rule_that_takes_too_much_refuses_the_commit(world: World) -> None:
    """It is named, the worker lives on, and the verified commit before is kept up."""
    await world.deploy()
    huge = f'["{"a" * 60}"]' + ".map(a, a + a)" * 28 + ".size() == 1"
    world.push({layout.RULES: DENY.format(huge)})
    world.push_objects("c", config_map("c", {"a": "1"}))
    with pytest.raises(FormatError, match="the rule frozen takes too much time or memory"):
        await world.deploy()
    world.merge(world.path("configmaps", "base"), {"data": {"a": "9"}})
    with pytest.raises(FormatError, match="the rule frozen"):
        await world.resync()
    live = world.get("ConfigMap", "base")
    assert live is not None
    assert live["data"] == {"a": "1"}


async def test_another_minor_version_is_told(world: World) -> None:
    """CI validates by the version that the environment names; CD says when the server is another one."""
    text = f'format: 1\nid: "{world.environment_id}"\ncluster: sandbox\nnamespaces: [{world.namespace}]\n'
    world.push({layout.environment("dev"): text + 'kubernetes: "1.30"\n'})
    plan = await world.plan()
    assert any("Kubernetes 1.30" in note and "v1." in note for note in plan.notes)


# the pod security standards ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_the_rules_are_those_of_the_server_s_own_admission(world: World, level: str) -> None:
    """Of every pod that shows a control, the server's Pod Security admission says what our rules say."""
    labels = {"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": "latest"}
    namespace = f"{world.namespace}-{level}"
    world.admin.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}, manager="admin"
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    world.admin.apply(account, manager="admin")
    said = {str(case): _admitted(world, case, namespace) for case in CASES if case.level == level}
    expected = {str(case): case.allowed for case in CASES if case.level == level}
    wrong = {name: verdict for name, verdict in said.items() if verdict != expected[name]}
    assert not wrong, "\n".join(f"{name}: {verdict}" for name, verdict in wrong.items())


_REFUSED = ("violates PodSecurity", "disallowed by cluster policy", "`hostUsers` must be false")
"""The standards themselves, and what the server refuses before it asks them."""


def _admitted(world: World, case: Case, namespace: str) -> bool | str:
    """What is refused for another reason shows no control: its message."""
    body = case.manifest()
    body["metadata"]["namespace"] = namespace
    try:
        world.admin.create(body, manager="admin", dry_run=True)
    except ClusterError as error:
        return False if any(reason in error.message for reason in _REFUSED) else error.message
    return True
