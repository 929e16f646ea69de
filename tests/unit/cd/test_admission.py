"""Which webhooks and policies are asked about an environment's objects."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.admission import admission, reaches
from interlock.cd.objects import Body, Resource, identify
from interlock.cd.strangers import judging
from interlock.contract.models import AllowedObject

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True)
SHOP = {"kubernetes.io/metadata.name": "shop", "team": "a"}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}


def _webhook(name: str = "w", **webhook: Any) -> Body:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "uid": name},
        "webhooks": [{"rules": [RULE], **webhook}],
    }


def _expression(operator: str, *values: str, key: str = "team") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"team": "a"}}, True),
        ({"matchLabels": {"team": "b"}}, False),
        (_expression("In", "a", "b"), True),
        (_expression("In", "b"), False),
        (_expression("In", "a", key="absent"), False),
        (_expression("NotIn", "a"), False),
        (_expression("NotIn", "a", key="absent"), True),
        (_expression("Exists"), True),
        (_expression("Exists", key="absent"), False),
        (_expression("DoesNotExist"), False),
        (_expression("DoesNotExist", key="absent"), True),
        (_expression("Later"), True),
    ],
)
def test_a_selector_is_read_as_the_server_reads_it(selector: Body | None, selects: bool) -> None:
    """matchLabels and matchExpressions all hold; what we do not know may select."""
    assert reaches(_webhook(namespaceSelector=selector), [SHOP], [CONFIG_MAPS]) is selects


@pytest.mark.parametrize(
    ("rule", "reached"),
    [
        (RULE, True),
        ({**RULE, "resources": ["*/*"], "apiGroups": ["*"]}, True),
        ({**RULE, "operations": ["DELETE"]}, True),
        ({**RULE, "operations": ["CONNECT"]}, False),
        ({**RULE, "scope": "Cluster"}, False),
        ({**RULE, "scope": "Namespaced"}, True),
        ({**RULE, "resources": ["secrets"]}, False),
        ({**RULE, "apiGroups": ["apps"]}, False),
    ],
)
def test_a_rule_must_be_about_a_kind_that_lives_there(rule: Body, reached: bool) -> None:
    """By group and resource, in namespaces, for anything but connections."""
    assert reaches(_webhook(rules=[rule]), [SHOP], [CONFIG_MAPS]) is reached
    policy = {"kind": "MutatingAdmissionPolicy", "spec": {"matchConstraints": {"resourceRules": [rule]}}}
    assert reaches(policy, [SHOP], [CONFIG_MAPS]) is reached


def test_selector_and_rule_count_together() -> None:
    """One webhook selects the namespace, another one has the rule: neither is asked."""
    body = _webhook()
    body["webhooks"] = [{"rules": []}, {"rules": [RULE], "namespaceSelector": _expression("NotIn", "a")}]
    assert not reaches(body, [SHOP], [CONFIG_MAPS])
    assert reaches(body, [SHOP, {"team": "b"}], [CONFIG_MAPS])
    assert not reaches({"kind": "ValidatingAdmissionPolicy", "spec": {}}, [SHOP], [CONFIG_MAPS])


def test_what_environment_yaml_allows_is_not_foreign() -> None:
    """By kind and pattern."""
    bodies = {identify(body): body for body in admission([_webhook("mesh"), _webhook("miner")]).bodies}
    allowed = AllowedObject(kind="MutatingWebhookConfiguration", name="mes?", reason="the mesh's own")
    (item,) = judging(bodies, [allowed])
    assert (item.identity.name, item.reason) == (
        "miner",
        "not in Git, not ours; it may change what is written in the namespaces",
    )


@pytest.mark.parametrize("operation", ["*", "CREATE", "UPDATE"])
def test_a_webhook_about_changes_may_judge_too(operation: str) -> None:
    """What is known of a change without the server is asked about where a webhook may refuse changes alone."""
    body = _webhook(rules=[{**RULE, "operations": [operation]}])
    assert admission([body]).may_judge(CONFIG_MAPS)
    assert not admission([_webhook(rules=[{**RULE, "operations": ["DELETE"]}])]).may_judge(CONFIG_MAPS)
