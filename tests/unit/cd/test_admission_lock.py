"""What the policies of the lock are about; tests/cluster has them on a real API server."""

from __future__ import annotations

from fnmatch import fnmatch

from interlock.cd import audit
from interlock.cd.admission_lock import AdmissionLock, Locked, policies, policy_name
from interlock.cd.objects import Body

LOCKED = Locked("dev", "0123456789ab", "control", ("shop",), AdmissionLock())


def _policy(name: str) -> Body:
    return next(body for body in policies(LOCKED) if body["metadata"]["name"] == policy_name("0123456789ab", name))


def test_the_lock_is_about_every_kind_that_the_audit_is_about() -> None:
    """Who has `edit` or `admin` in the control namespace makes no Deployment, Job, binding or account there."""
    rules = _policy("control")["spec"]["matchConstraints"]["resourceRules"]
    named = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    asked = {(group, kind) for group, kinds in audit.KINDS.items() for kind in kinds}
    assert asked - {each for each in asked if any(each[0] == g and fnmatch(each[1], n) for g, n in named)} == set()


def test_no_controller_makes_a_pod_in_the_control_namespace() -> None:
    """A pod of CD's account is CD: whoever made the Job, its pods are refused to the Job controller too."""
    spec = _policy("runners")["spec"]
    (rule,) = spec["matchConstraints"]["resourceRules"]
    (names,) = spec["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert (rule["resources"], rule["operations"], names["values"]) == (["pods"], ["CREATE"], ["control"])
    assert [each["name"] for each in spec["matchConditions"]] == ["not-cd", "not-break-glass"]
