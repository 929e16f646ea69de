"""policy/rules.yaml: what an expression says of a manifest, and that nothing passes without an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from interlock.contract import layout, repository
from interlock.contract.default_rules import BASELINE, DEFAULTS, RESTRICTED
from interlock.contract.manifest import Manifest
from interlock.contract.render import render
from interlock.contract.rules import Broken, Rule, Subject, from_json, judge, stricter, to_json
from interlock.contract.validation import podless
from interlock.errors import FormatError
from tests.examples_of_repositories import environment_tree
from tests.pod_security import CASES, CONTROLS, Case

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
        ("no-privilege-escalation", {"securityContext": {"allowPrivilegeEscalation": True}}),
        ("no-added-capabilities", {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
        ("no-host-namespaces", {"pod": {"hostNetwork": True}}),
        ("no-host-namespaces", {"pod": {"hostPID": True}}),
        ("no-host-namespaces", {"pod": {"hostIPC": True}}),
        ("no-host-ports", {"ports": [{"containerPort": 80, "hostPort": 80}], "readinessProbe": {}}),
        ("no-host-path", {"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
        ("requests", {"resources": {"requests": {"cpu": "1m"}}}),
        ("requests", {"resources": None}),
        ("requests", {"pod": {"initContainers": [{"name": "first"}]}}),
        ("requests", {"pod": {"ephemeralContainers": [{"name": "look"}]}}),
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


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_control_of_the_pod_security_standards(case: Case) -> None:
    """What a control forbids breaks its rule and no other, what it allows breaks none; in each list of containers."""
    found = {name for name in broken(case.manifest(), *BASELINE, *RESTRICTED) if name in CONTROLS[case.level]}
    assert found == (set() if case.allowed else {case.rule, case.also} - {""})


def test_every_control_is_tried_in_both_directions() -> None:
    """None of the rules has only cases that it allows, or only such that it forbids."""
    tried = {(case.rule, case.allowed) for case in CASES}
    assert tried == {(rule.name, allowed) for rule in (*BASELINE, *RESTRICTED) for allowed in (True, False)}


def test_the_built_in_template_set_is_restricted() -> None:
    """What `interlock init` makes holds to the strictest standard."""
    read = repository.read(environment_tree({layout.RULES: "format: 1\nrestricted: true\n"}))
    subjects = [Subject(each.body, "dev", "shop") for each in render(read, "dev").manifests]
    assert len(read.rules) == len(DEFAULTS) + len(RESTRICTED)
    assert [said for _, said in judge(read.rules, subjects) if said] == []


# pods in custom kinds --------------------------------------------------------------------------------

ROLLOUT = (("Rollout.example.org", "spec.template.spec"), ("Rollout.example.org", "spec.canaries[*].pod"))


def rollout(spec: Any) -> Any:
    return {"apiVersion": "example.org/v1", "kind": "Rollout", "metadata": {"name": "r"}, "spec": spec}


def at_places(made: Any) -> set[str]:
    return set(broken(made, *(replace(rule, places=ROLLOUT) for rule in DEFAULTS)))


def test_pods_in_custom_kinds_are_judged_where_they_are_said_to_be() -> None:
    """At each place, in each item of a list, with the template's annotations; without a place nothing is known."""
    good = {"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}
    bad = {**good, "hostNetwork": True}
    annotations = {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}
    assert at_places(rollout({"template": {"spec": good}, "canaries": [{"pod": good}]})) == set()
    assert at_places(rollout({"template": {"spec": bad}})) == {"no-host-namespaces"}
    assert at_places(rollout({"template": {"spec": good}, "canaries": [{"pod": good}, {"pod": bad}]})) == {
        "no-host-namespaces"
    }
    assert at_places(rollout({"template": {"spec": good, "metadata": {"annotations": annotations}}})) == {
        "no-app-armor-override"
    }
    assert broken(rollout({"template": {"spec": bad}})) == {}


@pytest.mark.parametrize("spec", ["text", [], [{}], 1, {"containers": {"web": {}}}, {"containers": "all", "a": 1}])
def test_what_is_no_pod_where_one_is_said_to_be_does_not_pass(spec: Any) -> None:
    """No shape makes a rule look at nothing."""
    assert at_places(rollout({"template": {"spec": spec}}))


def test_a_place_without_pods_is_told() -> None:
    """A wrong path would let everything pass in silence."""
    rules_ = [replace(rule, places=ROLLOUT) for rule in DEFAULTS]
    empty, other = Manifest(rollout({}), "shop", {}), Manifest(body(), "shop", {})
    full = Manifest(rollout({"canaries": [{"pod": {}}]}), "shop", {})
    (found,) = podless(rules_, [empty, full, other])
    assert (found.subject, found.denies) == ("Rollout/r", False)
    assert "spec.template.spec and spec.canaries[*].pod" in found.message


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


def test_built_in_rules_that_hold_are_asked_together() -> None:
    """What all of them say is what each says alone: of a pod that holds, that breaks one, that breaks many, of none."""
    alone = [replace(rule, built_in=False) for rule in (*DEFAULTS, *RESTRICTED)]
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    made = (
        body(pod={"securityContext": restricted}, securityContext=hardened),
        body(pod={"hostNetwork": True, "volumes": "text"}, resources=None),
        body("Pod", "v1"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
    )
    assert broken(made[0], *DEFAULTS, *RESTRICTED) == {}
    for each in made:
        assert broken(each, *DEFAULTS, *RESTRICTED) == broken(each, *alone)


def test_a_rule_is_named_when_it_begins() -> None:
    """So that one that takes too much is known; ours may be asked before their turn."""
    begun: list[str] = []
    rules_ = [Rule("first", "true"), *DEFAULTS[:2], Rule("last", "true")]
    for rule, _ in judge(rules_, [Subject(body(), "dev", "shop")], begins=lambda rule: begun.append(rule.name)):
        assert begun[-1] == rule.name
    assert begun == [rule.name for rule in rules_]


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
    rules = (
        *DEFAULTS,
        Rule("r", "true", kinds=("Pod",), environments=("dev",), since="abc", waivable=False, places=ROLLOUT),
    )
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


def test_restricted_is_for_the_environments_that_it_names() -> None:
    """All, some, or none; a rule of the same name stands in for one of them too."""
    names = [rule.name for rule in (*DEFAULTS, *RESTRICTED)]
    assert [rule.name for rule in rules("format: 1\nrestricted: true\n")] == names
    some = rules("format: 1\nrestricted: [dev]\n")
    assert {rule.environments for rule in some if rule.name.startswith("restricted-")} == {("dev",)}
    assert rules("format: 1\nrestricted: []\n") == rules("format: 1\nrestricted: false\n") == DEFAULTS
    text = "format: 1\nrestricted: true\nrules:\n  - {name: restricted-user, expression: 'true', severity: warn}\n"
    assert [rule.severity for rule in rules(text) if rule.name == "restricted-user"] == ["warn"]


def test_places_of_pods_come_with_every_rule() -> None:
    """Also with one of the file's own, which may be about kinds that make pods only."""
    text = "format: 1\npods: [{kind: Rollout.example.org, path: spec.template.spec}]\nrules:\n"
    text += "  - {name: mine, match: {pods: true}, expression: pod.containers.size() == 1}\n"
    found = rules(text)
    assert {rule.places for rule in found} == {(("Rollout.example.org", "spec.template.spec"),)}
    mine = found[-1]
    assert mine.about("example.org/v1", "Rollout", "dev")
    assert mine.about("apps/v1", "Deployment", "dev")
    assert not mine.about("v1", "ConfigMap", "dev")


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
        ("format: 1\nrestricted: [prod]\n", "there is no environment 'prod'"),
        ("format: 1\ndefaults: false\nrestricted: true\n", "restricted cannot be without the default rules"),
        ("format: 1\npods: [{kind: Deployment, path: spec}]\n", "'Deployment' is not a custom kind with its group"),
        ("format: 1\npods: [{kind: Ingress.networking.k8s.io, path: spec}]\n", "is a built-in kind"),
        ("format: 1\npods: [{kind: Rollout.example.org, path: '.spec'}]\n", "is no path such as"),
        ("format: 1\nrules: [" + "{name: a, expression: 'true'}, " * 101 + "]\n", "policy/rules.yaml"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, message: str) -> None:
    """An expression that is no CEL is found when the repository is read, by CI, CD and at the desk."""
    with pytest.raises(FormatError) as error:
        rules(text)
    assert message in str(error.value)
