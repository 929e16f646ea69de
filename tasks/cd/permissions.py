"""Asks the API server what we may do there, before anything is written."""

from __future__ import annotations

from collections.abc import Collection

from interlock.cd.definitions import defined
from interlock.cd.objects import Body, Resource
from interlock.cd.permissions import Lacking, Need, allowed, control_needs, needs
from interlock.cd.plan import Plan
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import side_by_side

_AUTHORIZATION = "authorization.k8s.io/v1"


def lacking(cluster: Cluster, plan: Plan) -> Lacking | None:
    """What RBAC does not allow of a plan; None when it allows all."""
    return _lacking(cluster, needs(plan, _resources(cluster, plan)))


def lacking_control(cluster: Cluster, control_namespace: str) -> Lacking | None:
    """What RBAC does not allow us of the lock and the record."""
    return _lacking(cluster, control_needs(cluster.username, control_namespace))


def _lacking(cluster: Cluster, wanted: Collection[Need]) -> Lacking | None:
    """One request for each namespace gives the rules; what they do not show, such as another authorizer's, is asked for
    by itself.
    """
    namespaces = sorted({need.namespace for need in wanted if need.namespace})
    rules = dict(zip(namespaces, side_by_side(lambda name: _rules(cluster, name), namespaces), strict=True))
    unsure = [need for need in wanted if not allowed(need, rules.get(need.namespace, ()))]
    answers = side_by_side(lambda need: _may(cluster, need), unsure)
    missing = tuple(need for need, may in zip(unsure, answers, strict=True) if not may)
    return Lacking(cluster.username, missing) if missing else None


def _resources(cluster: Cluster, plan: Plan) -> dict[tuple[str, str], Resource]:
    """The kinds as they are served, or as the plan would define them; what is neither is told of by the plan."""
    found = {(r.group, r.kind): r for r in defined(item.body for item in plan.items if item.body)}
    named = {(item.identity.group, item.identity.kind) for item in plan.items}
    for group, kind in sorted(named | {(each.group, each.kind) for each in plan.unseen}):
        try:
            found[(group, kind)] = cluster.preferred(group, kind)
        except ClusterError as error:
            if error.status != 404 and not error.transient:
                raise
    return found


def _rules(cluster: Cluster, namespace: str) -> list[Body]:
    status = _review(cluster, "SelfSubjectRulesReview", {"namespace": namespace})
    return list(status.get("resourceRules") or ())


def _may(cluster: Cluster, need: Need) -> bool:
    return bool(_review(cluster, "SelfSubjectAccessReview", {"resourceAttributes": need.attributes}).get("allowed"))


def _review(cluster: Cluster, kind: str, spec: Body) -> Body:
    body = {"apiVersion": _AUTHORIZATION, "kind": kind, "spec": spec}
    path = f"/apis/{_AUTHORIZATION}/{kind.lower()}s"
    status: Body = cluster.request("POST", path, body=body, repeatable=True)["status"]
    return status
