"""policy/rules.yaml: what an expression says of a manifest, and that nothing passes without an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.contract import layout, repository
from interlock.contract.rules import DEFAULTS, Broken, Rule, Subject, from_json, judge, stricter, to_json
from interlock.errors import FormatError
from tests.examples_of_repositories import environment_tree

RULE = "format: 1\nrules:\n  - name: mine\n    expression: {}\n"


def body(kind: str = "Deployment", api_version: str = "apps/v1", *, pod: Any = None, **container: Any) -> Any:
    resources = {"requests": {"cpu": "1m", "memory": "1Mi"}}
    spec = {"containers": [{"name": "web", "resources": resources, **container}], **(pod or {})}
    template = {"spec": spec}
    inside = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec if kind == "Pod" else inside}


def broken(made: dict[str, Any], *rules: Rule, environment: str = "dev") -> dict[str, Broken]:
    found = judge(rules or DEFAULTS, [Subject(made, environment, "shop")])
    return {rule.name: each for rule, said in found for _, each in said}


# the default rules -----------------------------------------------------------------------------------


def test_what_is_usual_passes() -> None:
    """Requests or limits, a probe where there is a port, the capabilities of the baseline, null for nothing."""
    probe = {"httpGet": {"path": "/", "port": 80}}
    assert broken(body(ports=[{"containerPort": 80}], readinessProbe=probe)) == {}
    assert broken(body(resources={"limits": {"cpu": "1", "memory": "1Gi"}}, ports=None, securityContext=None)) == {}
    assert broken(body(securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})) == {}
    assert broken(body(pod={"volumes": None, "hostNetwork": False, "initContainers": None})) == {}
    assert broken(body(pod={"volumes": [{"name": "a", "emptyDir": {}}]})) == {}
    assert broken({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}) == {}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("no-privileged", {"securityContext": {"privileged": True}}),
        ("no-privileged", {"pod": {"initContainers": [{"securityContext": {"privileged": True}}]}}),
        ("no-privilege-escalation", {"securityContext": {"allowPrivilegeEscalation": True}}),
        ("no-added-capabilities", {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
        ("no-host-namespaces", {"pod": {"hostNetwork": True}}),
        ("no-host-namespaces", {"pod": {"hostPID": True}}),
        ("no-host-namespaces", {"pod": {"hostIPC": True}}),
        ("no-host-ports", {"ports": [{"containerPort": 80, "hostPort": 80}], "readinessProbe": {}}),
        ("no-host-path", {"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
        ("requests", {"resources": {"requests": {"cpu": "1m"}}}),
        ("requests", {"resources": None}),
        ("readiness", {"ports": [{"containerPort": 80}]}),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Pod", "Job", "CronJob"])
def test_what_no_manifest_may_be(rule: str, change: dict[str, Any], kind: str) -> None:
    """Each default rule denies in every kind that makes pods; readiness only where a roll-out waits for it."""
    group = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    found = broken(body(kind, group, **change))
    expected = {rule} if rule != "readiness" or kind in {"Deployment", "StatefulSet", "DaemonSet"} else set()
    assert found.keys() == expected
    assert all(each.severity == "deny" and each.waivable for each in found.values())


def test_a_shape_that_a_rule_does_not_understand_does_not_pass() -> None:
    """An evaluation error denies, with the reason."""
    found = broken(body(pod={"volumes": "all of them"}))["no-host-path"]
    assert (found.severity, found.message.partition(":")[0]) == ("deny", "the rule has no answer, so it does not hold")


# evaluation ------------------------------------------------------------------------------------------


def test_a_rule_sees_names_and_pods() -> None:
    """`environment`, `application`, `pod` and `containers` beside `object`."""
    names = 'environment == "dev" && application == "shop" && object.metadata.namespace == "shop"'
    pods = 'object.kind == "Deployment" && pod.containers.size() == 1 && containers[0].name == "web"'
    assert broken(body(), Rule("names", f"{names} && {pods}")) == {}


def test_a_rule_is_about_kinds_and_environments() -> None:
    """A kind alone is of any group, with its group of that one; no kinds are all of them."""
    for kinds, expected in (((), 1), (("Deployment",), 1), (("Deployment.apps",), 1), (("Deployment.x",), 0)):
        assert len(broken(body(), Rule("r", "false", kinds=kinds))) == expected
    assert broken(body(), Rule("r", "false", environments=("prod",))) == {}
    assert broken(body(), Rule("r", "false", environments=("prod",)), environment="prod")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("r", "false"), "must hold: false"),
        (Rule("r", "false", message="no"), "no"),
        (Rule("r", "false", message_expression='"no " + object.metadata.name'), "no web"),
        (Rule("r", "false", message="no", message_expression="object.nothing"), "no"),
        (Rule("r", "false", message="no", message_expression="object.kind == 'x'"), "no"),
        (Rule("r", "1"), "the rule gives int, not true or false, so it does not hold"),
        (Rule("r", "object.nothing"), "the rule has no answer, so it does not hold: Key not found in map"),
        (Rule("r", "[1].all(a, object.x)"), "the rule has no answer"),
        (Rule("r", "false", since="abc"), "must hold: false (a rule of abc, which still judges this commit)"),
    ],
)
def test_what_is_said(rule: Rule, message: str) -> None:
    """The message, as text or from CEL; without an answer the reason. Only true passes."""
    assert broken(body(), rule)["r"].message.startswith(message)


def test_an_endless_rule_has_no_answer() -> None:
    """The budget of iterations ends it, and it does not hold."""
    text = "true"
    for depth in range(6):
        text = f"[1,2,3,4,5,6,7,8,9,10].all(x{depth}, {text})"
    assert "budget exceeded" in broken(body(), Rule("r", text))["r"].message


def test_a_secret_is_judged_without_its_values() -> None:
    """A rule can ask for its keys; what a message says of its values is nothing."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    rule = Rule("r", '!("password" in object.stringData)', message_expression='"it is " + object.stringData.password')
    assert broken(secret, rule)["r"].message == "it is"


def test_rules_survive_json() -> None:
    """What the child process is given is what the parent has."""
    rules = (*DEFAULTS, Rule("r", "true", kinds=("Pod",), environments=("dev",), since="abc", waivable=False))
    assert from_json(json.loads(json.dumps(to_json(rules)))) == rules


def test_what_a_commit_takes_away_still_judges_it() -> None:
    """Rules of both commits hold; one that both have is judged by once."""
    kept, old, weaker = Rule("kept", "true"), Rule("r", "false"), Rule("r", "false", severity="warn")
    rules = stricter((kept, weaker), (kept, old), since="abc")
    assert [(rule.name, rule.severity, rule.since) for rule in rules] == [
        ("kept", "deny", ""),
        ("r", "warn", ""),
        ("r", "deny", "abc"),
    ]


# the file --------------------------------------------------------------------------------------------


def rules(text: str | None) -> tuple[Rule, ...]:
    return repository.read(environment_tree({layout.RULES: text})).rules


def test_the_default_rules_hold_unless_the_file_says_otherwise() -> None:
    """Without a file and beside its own rules; a rule of the same name stands in for a default one."""
    assert rules(None) == DEFAULTS
    assert rules("format: 1\n") == DEFAULTS
    assert rules("format: 1\ndefaults: false\n") == ()
    assert [rule.name for rule in rules(RULE.format("object.kind != ''"))] == [
        *(rule.name for rule in DEFAULTS),
        "mine",
    ]
    text = "format: 1\nrules:\n  - {name: requests, expression: 'true', severity: warn}\n"
    assert [rule.severity for rule in rules(text) if rule.name == "requests"] == ["warn"]
    assert len(rules(text)) == len(DEFAULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE.format("object."), "policy/rules.yaml:4:5: expression is no CEL: 1:8: Syntax error"),
        (RULE.format("nothing == 1"), "policy/rules.yaml:4:5: expression is no CEL: 1:1: undeclared reference"),
        (RULE.format("\"'text'\""), "policy/rules.yaml:4:5: expression gives STRING, and must give BOOL"),
        (RULE.format("x" * 5000), "at most 4000 are read"),
        (RULE.format("'true'\n    message_expression: '1'"), "policy/rules.yaml:5:5: message_expression gives INT"),
        (RULE.format("'true'\n    severity: maybe"), "policy/rules.yaml:5:5: rules.0.severity: 'maybe' is not"),
        (RULE.format("'true'\n    match: {environments: [prod]}"), "there is no environment 'prod'"),
        (RULE.format("'true'\n    match: {kinds: [pods]}"), "'pods' is not a kind such as ConfigMap"),
        (
            RULE.format("'true'\n  - {name: mine, expression: 'true'}"),
            "yaml:5:6: there are two rules mine",
        ),
        (RULE.format("'true'\n    wavable: false"), "unknown field 'wavable'"),
        ("format: 1\nrules: [" + "{name: a, expression: 'true'}, " * 101 + "]\n", "policy/rules.yaml"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, message: str) -> None:
    """An expression that is no CEL is found when the repository is read, by CI, CD and at the desk."""
    with pytest.raises(FormatError) as error:
        rules(text)
    assert message in str(error.value)
