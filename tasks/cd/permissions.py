"""Asks the API server what we may do there, before anything is written."""

from __future__ import annotations

from interlock.cd.objects import Body, Resource
from interlock.cd.permissions import Lacking, Need, allowed, needs
from interlock.cd.plan import Plan
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster
from tasks.cd.inspect import side_by_side

_AUTHORIZATION = "authorization.k8s.io/v1"
_AUTHENTICATION = "authentication.k8s.io/v1"


def lacking(cluster: Cluster, plan: Plan) -> Lacking | None:
    """What RBAC does not allow of a plan; None when it allows all.

    One request for each namespace gives the rules; what they do not show, such as another authorizer's, is asked for
    by itself.
    """
    wanted = needs(plan, _resources(cluster, plan))
    namespaces = sorted({need.namespace for need in wanted if need.namespace})
    rules = dict(zip(namespaces, side_by_side(lambda name: _rules(cluster, name), namespaces), strict=True))
    unsure = [need for need in wanted if not allowed(need, rules.get(need.namespace, ()))]
    answers = side_by_side(lambda need: _may(cluster, need), unsure)
    missing = tuple(need for need, may in zip(unsure, answers, strict=True) if not may)
    return Lacking(_username(cluster), missing) if missing else None


def _resources(cluster: Cluster, plan: Plan) -> dict[tuple[str, str], Resource]:
    """The kinds as they are served; what is not served is told of by the plan."""
    found: dict[tuple[str, str], Resource] = {}
    for group, kind in sorted({(item.identity.group, item.identity.kind) for item in plan.items}):
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


def _username(cluster: Cluster) -> str:
    body = {"apiVersion": _AUTHENTICATION, "kind": "SelfSubjectReview"}
    path = f"/apis/{_AUTHENTICATION}/selfsubjectreviews"
    return str(cluster.request("POST", path, body=body, repeatable=True)["status"]["userInfo"]["username"])


def _review(cluster: Cluster, kind: str, spec: Body) -> Body:
    body = {"apiVersion": _AUTHORIZATION, "kind": kind, "spec": spec}
    path = f"/apis/{_AUTHORIZATION}/{kind.lower()}s"
    status: Body = cluster.request("POST", path, body=body, repeatable=True)["status"]
    return status
