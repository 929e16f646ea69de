"""The second lock on an environment: policies by which the API server itself refuses what did not come through Git.

ValidatingAdmissionPolicies and their bindings, made from what an environment is and from what its host says. CD passes
all of them; the cluster's own controllers pass those about objects. Somebody in the break-glass group passes all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import StringConstraints

from interlock.cd.control import ACCOUNT
from interlock.cd.objects import PART_OF, Body
from interlock.cd.record import part_of
from interlock.contract.models import Model

BREAK_GLASS = "interlock:break-glass"
"""A group that nobody is in: an administrator impersonates it, which the audit log shows."""
IMAGES = "interlock-images"
"""The ConfigMap in the control namespace that lists the digests that may run."""
_GROUP = "admissionregistration.k8s.io"
API = f"{_GROUP}/v1"
RBAC = "rbac.authorization.k8s.io"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")

Who = Annotated[
    str, StringConstraints(pattern=r"^(User/.+|Group/.+|ServiceAccount/[a-z0-9.-]+/[a-z0-9.-]+)$", max_length=300)
]
"""`User/name`, `Group/name` or `ServiceAccount/namespace/name`."""
PinnedImage = Annotated[str, StringConstraints(pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$", max_length=500)]


class AdmissionLock(Model):
    """What an environment's policies let pass beside CD and the cluster's own controllers."""

    managers: tuple[Who, ...] = ()
    """Who else may change its objects, such as the service account of an autoscaler."""
    images: tuple[PinnedImage, ...] = ()
    """Images that run there and are not in Git: what a webhook puts into pods."""
    break_glass: Annotated[str, StringConstraints(min_length=1, max_length=200)] = BREAK_GLASS
    """The group that passes everything."""
    enforce: bool = True
    """Without it the API server only warns, and notes it in its audit log."""


@dataclass(frozen=True)
class Locked:
    """The environment that the policies are about."""

    name: str
    environment_id: str
    control_namespace: str
    namespaces: tuple[str, ...]
    lock: AdmissionLock
    user: str = ""
    """CD's name in its client certificate; nothing where it is the service account itself."""
    wide: bool = False
    """Whether it may have objects without a namespace."""


# policies --------------------------------------------------------------------------------------------

NAMES = ("objects", "below", "images", "templates", "control", "runners")
_EVERY = ["CREATE", "UPDATE", "DELETE"]
_WRITTEN = ["CREATE", "UPDATE"]
_TEMPLATED = {
    "": ["replicationcontrollers", "podtemplates"],
    "apps": ["deployments", "statefulsets", "daemonsets", "replicasets"],
    "batch": ["jobs", "cronjobs"],
}


def policies(locked: Locked) -> tuple[Body, ...]:
    """The policies, then their bindings: a policy that nothing binds is about nothing."""
    makers = (_objects, _below, _images, _templates, _control, _runners)
    made = [make(locked) for make in makers]
    return (*made, *(_binding(policy, locked) for policy in made))


def _objects(locked: Locked) -> Body:
    """Whatever carries the environment's mark, before or after, in its namespaces; and the namespaces themselves."""
    spaces = [*locked.namespaces, locked.control_namespace]
    # A Scale does not carry the labels of what it scales, nor does an autoscaler, whose controller passes.
    ours = (
        f'request.?subResource.orValue("") == "scale" || {_AUTOSCALER} || {_removal(spaces)}'
        f" || (({_marked(locked)}) && !({_STATUS_ALONE}))"
    )
    return _policy(
        locked,
        "objects",
        rules=[
            _rule(
                ["*"],
                ["*", "*/scale", "*/status", "pods/ephemeralcontainers", "pods/resize"],
                _EVERY,
                scope="Namespaced",
            ),
            # The selector of namespaces is about Namespaces too, and about nothing else that has no namespace.
            _rule(["*"], ["*"], _EVERY, "Cluster") if locked.wide else _rule([""], ["namespaces"], _EVERY, "Cluster"),
        ],
        excluded=[_rule(["", "events.k8s.io"], ["events"], ["*"])],
        namespaces=spaces,
        passing=_passing(locked, controllers=True, managers=True),
        conditions={"ours": ours},
        validations=[("false", _said(locked, "is changed in Git alone"))],
    )


_AUTOSCALER = (
    '(request.resource.group == "autoscaling" && request.resource.resource == "horizontalpodautoscalers"'
    ' && request.operation != "DELETE" && request.?subResource.orValue("") == "")'
)
"""Whoever makes one scales what it names, and the policy cannot see what that is."""
_STATUS_ALONE = 'request.?subResource.orValue("") == "status" && ' + " && ".join(
    f"dyn(object).metadata.?{field} == dyn(oldObject).metadata.?{field}"
    for field in ("labels", "ownerReferences", "finalizers")
)
"""Operators write the status; with it, some kinds let the owners be written, by which an object is collected."""


def _below(locked: Locked) -> Body:
    """What the cluster's controllers make of our objects, and of others of the same kinds. It may be deleted."""
    makers = ["ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Deployment", "CronJob", "ReplicationController"]
    owned = (
        ".?metadata.ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && o.kind in "
        f'{_list(makers)} && (o.apiVersion == "v1" || o.apiVersion.startsWith("apps/") || '
        'o.apiVersion.startsWith("batch/")))'
    )
    changed = (
        'request.operation == "UPDATE" && (object.?spec != oldObject.?spec || object.?data != oldObject.?data || '
        "object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences)"
    )
    return _policy(
        locked,
        "below",
        rules=[
            _rule(
                [""], ["pods", "pods/status", "pods/ephemeralcontainers", "pods/resize"], _WRITTEN, scope="Namespaced"
            ),
            _rule([""], _with_status("replicationcontrollers"), _WRITTEN, scope="Namespaced"),
            _rule(["apps"], [*_with_status("replicasets"), "controllerrevisions"], _WRITTEN, scope="Namespaced"),
            _rule(["batch"], _with_status("jobs"), _WRITTEN, scope="Namespaced"),
        ],
        namespaces=locked.namespaces,
        passing=_passing(locked, controllers=True, managers=True),
        conditions={"made": f"dyn(object){owned} || (oldObject != null && dyn(oldObject){owned})"},
        validations=[
            (
                f'request.operation != "CREATE" && !({changed})',
                _said(locked, "is made by a controller, and changed by that alone"),
            )
        ],
    )


_CONTAINERS = (
    "{spec}.?containers.orValue([]).map(c, c.?image.orValue(''))"
    " + {spec}.?initContainers.orValue([]).map(c, c.?image.orValue(''))"
    " + {spec}.?ephemeralContainers.orValue([]).map(c, c.?image.orValue(''))"
    " + {spec}.?volumes.orValue([]).filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))"
)
_POD = "{object}.?spec.orValue({{}})"
_TEMPLATE = (
    '({object}.kind == "CronJob" ? dyn({object}.?spec.jobTemplate.spec.template.spec.orValue({{}}))'
    ' : {object}.kind == "PodTemplate" ? dyn({object}.?template.spec.orValue({{}}))'
    " : dyn({object}.?spec.template.spec.orValue({{}})))"
)


def _images(locked: Locked) -> Body:
    """Every pod, whoever makes it."""
    rules = [_rule([""], ["pods", "pods/ephemeralcontainers"], _WRITTEN, scope="Namespaced")]
    return _listed(locked, "images", rules, _POD, controllers=False)


def _templates(locked: Locked) -> Body:
    """What makes pods: refused at once, and not when its pods are. Controllers carry on with what is there."""
    rules = [_rule([group], kinds, _WRITTEN, scope="Namespaced") for group, kinds in _TEMPLATED.items()]
    return _listed(locked, "templates", rules, _TEMPLATE, controllers=True)


def _listed(locked: Locked, name: str, rules: Sequence[Body], place: str, *, controllers: bool) -> Body:
    pinned = sorted({image.rpartition("@sha256:")[2] for image in locked.lock.images})
    digest = "(i.contains('@sha256:') ? i.split('@sha256:')[1] : '')"
    listed = f"{digest} in variables.listed || {digest} in {_list(pinned)} || i in variables.before"
    return _policy(
        locked,
        name,
        rules=rules,
        namespaces=locked.namespaces,
        passing=_passing(locked, controllers=controllers, managers=False),
        variables={
            "listed": "params.?data.orValue({})",
            "spec": place.format(object="object"),
            "former": f'request.operation == "UPDATE" ? dyn({place.format(object="oldObject")}) : dyn({{}})',
            "images": _CONTAINERS.format(spec="variables.spec"),
            "before": _CONTAINERS.format(spec="variables.former"),
            "strange": f"variables.images.filter(i, !({listed}))",
        },
        validations=[
            (
                "variables.strange.size() == 0",
                f'"interlock: no release of {locked.name} has " + variables.strange.join(", ")',
            )
        ],
        param=True,
    )


_IDENTITY = {"": ["serviceaccounts"], RBAC: ["roles", "rolebindings"]}
"""What CD's rights there are made of: written by who sets up the cluster."""
_LOCKSMITH = f'authorizer.group({json.dumps(_GROUP)}).resource("validatingadmissionpolicies").check("delete").allowed()'
"""Whoever may take the lock away passes it where bootstrap writes."""


def _control(locked: Locked) -> Body:
    """Record, inventory, Lease, fence, tokens, and all that could run with a token: CD's alone, whatever rights
    somebody was given there.
    """
    kept = {
        "": ["configmaps", "secrets", "pods", "pods/ephemeralcontainers", "serviceaccounts/token"],
        "coordination.k8s.io": ["leases"],
    }
    identity = " || ".join(
        f"(request.resource.group == {_text(group)} && request.resource.resource in {_list(kinds)})"
        for group, kinds in _IDENTITY.items()
    )
    written = {**_TEMPLATED, "": [*kept[""], *_TEMPLATED[""], *_IDENTITY[""]], RBAC: _IDENTITY[RBAC]}
    return _policy(
        locked,
        "control",
        rules=[
            *(_rule([group], kinds, _EVERY, scope="Namespaced") for group, kinds in {**kept, **written}.items()),
            _rule([""], ["pods/exec", "pods/attach"], ["CONNECT"], scope="Namespaced"),
        ],
        namespaces=[locked.control_namespace],
        passing=_passing(locked, controllers=True, managers=False),
        validations=[
            (
                f'request.?subResource.orValue("") == "" && ({identity}) && {_LOCKSMITH}',
                _said(locked, "is written by CD alone"),
            )
        ],
    )


def _runners(locked: Locked) -> Body:
    """Nothing runs where CD's account is: a pod of that account is CD, whatever made it, and from whatever was there
    before the lock.
    """
    return _policy(
        locked,
        "runners",
        rules=[_rule([""], ["pods"], ["CREATE"], scope="Namespaced")],
        namespaces=[locked.control_namespace],
        passing=_passing(locked, controllers=False, managers=False),
        validations=[("false", _said(locked, "could be CD: nothing runs in its control namespace"))],
    )


# who passes ------------------------------------------------------------------------------------------


def _passing(locked: Locked, *, controllers: bool, managers: bool) -> dict[str, str]:
    """Conditions under which a policy looks at a request at all: it is of none of these."""
    us = [f"system:serviceaccount:{locked.control_namespace}:{ACCOUNT}", *([locked.user] if locked.user else [])]
    passing = {
        "not-cd": f"!({_USERNAME} in {_list(us)})",
        "not-break-glass": f"!{_in_group([locked.lock.break_glass])}",
    }
    if controllers:
        passing["not-a-controller"] = (
            f'!({_USERNAME}.startsWith("system:serviceaccount:kube-system:") || '
            f"{_USERNAME} in {_list(_CONTROL_PLANE)} || {_in_group(['system:nodes'])})"
        )
    if managers and (named := _named(locked.lock.managers)):
        passing["not-a-manager"] = f"!({named})"
    return passing


_USERNAME = 'request.userInfo.?username.orValue("")'
_CONTROL_PLANE = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")


def _named(managers: Iterable[str]) -> str:
    users: list[str] = []
    groups: list[str] = []
    for manager in sorted(managers):
        kind, _, name = manager.partition("/")
        if kind == "Group":
            groups.append(name)
        else:
            users.append(f"system:serviceaccount:{name.replace('/', ':')}" if kind == "ServiceAccount" else name)
    parts = [f"{_USERNAME} in {_list(users)}"] if users else []
    return " || ".join([*parts, *([_in_group(groups)] if groups else [])])


def _in_group(groups: Collection[str]) -> str:
    return f"request.userInfo.?groups.orValue([]).exists(g, g in {_list(groups)})"


def _marked(locked: Locked) -> str:
    value = _text(part_of(locked.environment_id, locked.control_namespace))
    mark = f'.?metadata.labels[?"{PART_OF}"].orValue("") == {value}'
    return f"(object != null && dyn(object){mark}) || (oldObject != null && dyn(oldObject){mark})"


def _removal(namespaces: Collection[str]) -> str:
    return (
        '(request.operation == "DELETE" && request.resource.group == "" && request.resource.resource == "namespaces"'
        f" && request.name in {_list(namespaces)})"
    )


# words -----------------------------------------------------------------------------------------------


def _said(locked: Locked, rule: str) -> str:
    """The message, as CEL: it names what, who, and where to change it."""
    what = 'request.resource.resource + "/" + request.?name.orValue("")'
    where = f" of environment {locked.name} {rule}, not by "
    return f'"interlock: " + {what} + {_text(where)} + {_USERNAME}'


def _text(value: str) -> str:
    """A CEL string: a JSON string is one."""
    return json.dumps(value)


def _list(values: Iterable[str]) -> str:
    return json.dumps(list(values))


def _rule(groups: list[str], resources: list[str], operations: list[str], scope: str = "*") -> Body:
    return {
        "apiGroups": groups,
        "apiVersions": ["*"],
        "operations": operations,
        "resources": resources,
        "scope": scope,
    }


def _with_status(resource: str) -> list[str]:
    return [resource, f"{resource}/status"]


def policy_name(environment_id: str, name: str) -> str:
    return f"interlock-{environment_id}-{name}"


def policy_names(environment_id: str) -> frozenset[str]:
    return frozenset(policy_name(environment_id, name) for name in NAMES)


def _policy(
    locked: Locked,
    name: str,
    *,
    rules: Sequence[Body],
    passing: Mapping[str, str],
    validations: Sequence[tuple[str, str]],
    excluded: Sequence[Body] = (),
    namespaces: Sequence[str] = (),
    conditions: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    param: bool = False,
) -> Body:
    """A request that cannot be judged is refused. Everything that the server would fill in is said."""
    selector: dict[str, Any] = {}
    if namespaces:
        names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}
        selector = {"matchExpressions": [names]}
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": selector,
            "objectSelector": {},
            "resourceRules": list(rules),
            **({"excludeResourceRules": list(excluded)} if excluded else {}),
        },
        "matchConditions": [
            {"name": each, "expression": expression} for each, expression in {**passing, **(conditions or {})}.items()
        ],
        "validations": [
            {"expression": expression, "messageExpression": message, "reason": "Forbidden"}
            for expression, message in validations
        ],
    }
    if variables:
        spec["variables"] = [{"name": each, "expression": expression} for each, expression in variables.items()]
    if param:
        spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy_name(locked.environment_id, name)},
        "spec": spec,
    }


def _binding(policy: Body, locked: Locked) -> Body:
    spec: dict[str, Any] = {
        "policyName": policy["metadata"]["name"],
        "validationActions": ["Deny"] if locked.lock.enforce else ["Audit", "Warn"],
    }
    if "paramKind" in policy["spec"]:
        spec["paramRef"] = {
            "name": IMAGES,
            "namespace": locked.control_namespace,
            "parameterNotFoundAction": "Deny",
        }
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy["metadata"]["name"]},
        "spec": spec,
    }


# images ----------------------------------------------------------------------------------------------


def listing(images: Iterable[str], control_namespace: str, *, beside: Mapping[str, str] | None = None) -> Body:
    """The ConfigMap with the digests of images, and those `beside`. A digest's value says which image it is."""
    found = {image.rpartition("@sha256:")[2]: image.rpartition("@")[0] for image in sorted(set(images))}
    data = {**(beside or {}), **found}
    metadata = {"name": IMAGES, "namespace": control_namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(sorted(data.items()))}


# what became of it -----------------------------------------------------------------------------------


def weakened(locked: Locked, live: Iterable[Body]) -> tuple[str, ...]:
    """What of the policies and bindings is missing or not as it was written, one line each."""
    found = {(body["kind"], body["metadata"]["name"]): body.get("spec") or {} for body in live}
    lines = []
    for body in policies(locked):
        kind, name = body["kind"], body["metadata"]["name"]
        if (kind, name) not in found:
            lines.append(f"{kind}/{name} is gone")
        elif found[kind, name] != body["spec"]:
            lines.append(f"{kind}/{name} was changed")
    return tuple(lines)
