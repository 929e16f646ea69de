"""Schemas and rules together, in the process of their own where rules run, with the waivers of the repository."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from interlock.cd.plan import Action, Plan, PlanItem
from interlock.cd.policed import policed, to_judge, versions_differ
from interlock.ci.findings import of_violations
from interlock.contract import layout, repository
from interlock.contract.finding import Scan
from interlock.contract.gate import judge
from interlock.contract.models import GateRules, Waiver
from interlock.contract.render import render
from interlock.contract.rules import Rule, Subject
from interlock.contract.validation import Policy, Violation, waived_by_all
from interlock.errors import FormatError
from tasks.common import validate
from tasks.common.validate import Validated, judge_apart, validate_offline
from tests.examples_of_repositories import environment_tree

MANIFEST = "environments/dev/extra/manifests/extra.yaml"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  hostNetwork: true
  containers:
    - name: c
      image: a.example/c@sha256:0000000000000000000000000000000000000000000000000000000000000000
      resources: {limits: {cpu: "1", memory: 1Gi}}
"""
WAIVER = "format: 1\nwaivers:\n  - {{finding: {}, component: '*', reason: it has to be so, owner: ada, ends: '{}'}}\n"


def validated(changes: dict[str, str | bytes | None] | None = None) -> Validated:
    read = repository.read(environment_tree(changes))
    return validate_offline.fn(read, render(read, "dev"))


def today() -> dt.date:
    """Asked each time: a test run may last past midnight."""
    return dt.datetime.now(dt.UTC).date()


def waived(finding: str, *, ends: dt.date | None = None) -> list[bool]:
    changes = {MANIFEST: POD, layout.WAIVERS: WAIVER.format(finding, ends or today())}
    return [not each.denies for each in validated(dict(changes)).violations]


def test_the_built_in_template_set_passes() -> None:
    """Nothing is wrong with what `interlock init` makes, and every kind has a schema."""
    assert validated() == Validated((), ())


def test_a_typo_is_told_with_its_line() -> None:
    """Field, what was meant, template and line, without a cluster."""
    (found,) = validated({MANIFEST: POD.replace("hostNetwork: true", "restartPolicyy: Never")}).violations
    assert str(found) == (
        f"Pod/shop/p: schema: spec.restartPolicyy: unknown field (did you mean restartPolicy?) at {MANIFEST}:5"
    )
    assert found.denies


def test_a_broken_rule_is_told_with_its_object() -> None:
    """The default rules hold without a file, and cannot be forgotten."""
    (found,) = validated({MANIFEST: POD}).violations
    assert (found.rule, found.subject, found.denies) == ("no-host-namespaces", "Pod/shop/p", True)
    assert f"at {MANIFEST}:1" in found.reason


def test_a_kind_without_schema_is_told() -> None:
    """It is not passed over in silence, and no error either: only its cluster may know it."""
    text = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
    found = validated({MANIFEST: text})
    assert found.violations == ()
    assert found.notes[0].startswith("Widget of example.org/v1: there is no schema for it")


def test_an_environment_names_its_minor_version() -> None:
    """environment.yaml before environments.yaml; one that nobody has schemas of is an error with its file."""
    old = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\nspec: {}\n"
    assert "there is no schema" in validated({MANIFEST: old}).notes[0]
    environment = environment_tree().text("environments/dev/environment.yaml")
    for changes in (
        {"environments/dev/environment.yaml": environment + 'kubernetes: "1.99"\n'},
        {layout.ENVIRONMENTS: environment_tree().text(layout.ENVIRONMENTS) + 'kubernetes: "1.99"\n'},
    ):
        with pytest.raises(FormatError, match=r"there are no schemas of 1\.99"):
            validated({MANIFEST: old, **changes})
    with pytest.raises(FormatError, match="a minor version of Kubernetes"):
        validated({"environments/dev/environment.yaml": environment + 'kubernetes: "v1.37.1"\n'})


def test_a_waiver_lets_a_rule_pass_until_its_last_day() -> None:
    """For the rule everywhere, or for one object; not for another one, and not after its end."""
    assert waived("no-host-namespaces") == [True]
    assert waived("no-host-namespaces@Pod/shop/p") == [True]
    assert waived("no-host-namespaces@Pod/shop/q") == [False]
    assert waived("no-host-path") == [False]
    assert waived("no-host-namespaces", ends=today() - dt.timedelta(days=1)) == [False]


def test_no_commit_waives_what_it_does_itself() -> None:
    """Every commit that has the rule must waive it, by its own waivers."""
    (found,) = validated({MANIFEST: POD}).violations
    rule, waiver = Rule("no-host-namespaces", "false"), _waiver("no-host-namespaces")
    looser = replace(rule, severity="warn")

    def denied(newest: Policy, *older: Policy, violation: Violation = found) -> list[bool]:
        return [each.denies for each in waived_by_all([violation], newest, older, {}, today())]

    assert denied(Policy((rule,), (waiver,))) == [False]
    assert denied(Policy((rule,), (waiver,)), Policy((rule,), (), "old")) == [True]
    assert denied(Policy((rule,), ()), Policy((rule,), (waiver,), "old")) == [True]
    assert denied(Policy((rule,), (waiver,)), Policy((rule,), (waiver,), "old")) == [False]
    assert denied(Policy((rule,), (waiver,)), Policy((rule,), (waiver,), "old"), Policy((rule,), (), "older")) == [True]
    # A rule that only the newest commit has is waived by it alone.
    assert denied(Policy((rule,), (waiver,)), Policy((looser,), (), "old")) == [False]
    # What an older rule says is waived where that rule is, and nowhere else.
    older = replace(found, since="old")
    assert denied(Policy((), (waiver,)), Policy((rule,), (), "old"), violation=older) == [True]
    assert denied(Policy((), ()), Policy((rule,), (waiver,), "old"), violation=older) == [False]


def test_what_both_commits_deny_is_said_once() -> None:
    """By the newest commit's rule; an older one is heard where the newest only warns, or waives."""
    (found,) = validated({MANIFEST: POD}).violations
    rule, older = Rule("no-host-namespaces", "false"), replace(found, since="old")
    policies = [Policy((rule,), (), "old")]
    newest = Policy((replace(rule, message="other"),), ())
    assert waived_by_all([found, older], newest, policies, {}, today()) == (found,)
    warned = replace(found, severity="warn")
    assert [each.denies for each in waived_by_all([warned, older], newest, policies, {}, today())] == [False, True]


def _waiver(finding: str) -> Waiver:
    return Waiver(finding=finding, component="*", reason="it has to be so", owner="ada", ends=today())


def test_a_rule_may_refuse_waivers() -> None:
    """`waivable: false` is the word of whoever writes policy."""
    rules = "format: 1\ndefaults: false\nrules:\n  - {name: never, expression: 'false', waivable: false}\n"
    changes = {MANIFEST: POD, layout.RULES: rules, layout.WAIVERS: WAIVER.format("never", today())}
    assert all(each.denies for each in validated(dict(changes)).violations)


def test_ci_s_gate_blocks_on_what_is_denied() -> None:
    """A rule that denies blocks, one that warns does not, and the gate's own waivers hold for both."""
    findings = of_violations(validated({MANIFEST: POD}).violations, "dev")
    scans = [Scan("manifests", findings=findings)]
    now = dt.datetime.now(dt.UTC)
    verdict = judge(scans, None, rules=GateRules(), waivers=(), component="web", now=now, required=("manifests",))
    (reason,) = verdict.reasons
    assert reason.startswith("manifests: rule no-host-namespaces: Pod/shop/p in dev/extra: hostNetwork")
    waiver = Waiver(
        finding="no-host-namespaces@Pod/shop/p", component="web", reason="it has to be so", owner="ada", ends=today()
    )
    assert judge(
        scans, None, rules=GateRules(), waivers=(waiver,), component="web", now=now, required=("manifests",)
    ).passed
    text = "format: 1\ndefaults: false\nrules:\n  - {name: soft, expression: 'false', severity: warn}\n"
    findings = of_violations(validated({MANIFEST: POD, layout.RULES: text}).violations, "dev")
    scans = [Scan("manifests", findings=findings)]
    assert findings
    assert judge(scans, None, rules=GateRules(), waivers=(), component="web", now=now, required=("manifests",)).passed


# in a plan -------------------------------------------------------------------------------------------


def planned(action: Action, *violations: Violation) -> Plan:
    read = repository.read(environment_tree({MANIFEST: POD}))
    items = tuple(PlanItem(each.identity, action) for each in render(read, "dev").manifests)
    return policed(Plan("dev", "c" * 40, items), violations)


def test_a_plan_writes_nothing_that_is_denied() -> None:
    """The object is blocked with rule and reason; its neighbours are not, and warnings are notes."""
    (found,) = validated({MANIFEST: POD}).violations
    plan = planned(Action.CREATE, found)
    assert [item.identity.kind for item in plan.having(Action.BLOCKED)] == ["Pod"]
    assert plan.having(Action.BLOCKED)[0].reason.startswith("no-host-namespaces: hostNetwork")
    assert len(plan.having(Action.CREATE)) == 2
    assert plan.notes == ()


def test_only_what_is_written_is_judged() -> None:
    """What lives already as Git says was let in by the rules of its day."""
    manifests = render(repository.read(environment_tree({MANIFEST: POD})), "dev").manifests
    assert len(to_judge(planned(Action.CREATE), manifests)) == 3
    assert len(to_judge(planned(Action.CHANGE), manifests)) == 3
    assert to_judge(planned(Action.UNCHANGED), manifests) == ()


def test_a_plan_says_when_the_server_is_another_version() -> None:
    """Only when the environment names one."""
    assert versions_differ("", "v1.37.0") == ()
    assert versions_differ("1.37", "v1.37.2") == ()
    (note,) = versions_differ("1.36", "v1.37.0")
    assert "1.36" in note


# apart -----------------------------------------------------------------------------------------------

SUBJECT = Subject({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, "dev", "shop")


@pytest.mark.parametrize(
    "expression",
    [
        f"['{'a' * 60}']" + ".map(a,a+a)" * 28 + ".size() == 1",
        f"'{'a' * 1500}'.replace('a', '{'b' * 1500}').replace('b', '{'a' * 500}').size() == 1",
    ],
)
def test_a_rule_that_takes_all_memory_is_named(expression: str) -> None:
    """It ends its own process and no other; nothing passes without an answer."""
    with pytest.raises(FormatError, match="the rule huge takes too much time or memory, so nothing passes"):
        judge_apart([Rule("fine", "true"), Rule("huge", expression)], [SUBJECT])


def test_many_objects_are_judged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process judges more than its limits are made for, and each answer stays with its object."""
    monkeypatch.setattr(validate, "MOST_TOGETHER", 2)
    read = repository.read(environment_tree({MANIFEST: POD}))
    manifests = render(read, "dev").manifests
    rule = Rule("no", "false", message_expression="object.kind")
    found = validate.broken_rules([rule], manifests, "dev")
    assert [(each.identity, each.message) for each in found] == [(m.identity, m.body["kind"]) for m in manifests]
    assert len(manifests) == 3


def test_rules_run_apart() -> None:
    """Answers come back with the object's place."""
    (found,) = judge_apart([Rule("fine", "true"), Rule("no", "object.kind != 'Pod'", severity="warn")], [SUBJECT])
    assert (found[0], found[1].rule, found[1].severity) == (0, "no", "warn")
