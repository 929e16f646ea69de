"""What RBAC has to allow, does allow, and allows others."""

from __future__ import annotations

import re

import pytest

from interlock.cd.audit import grants
from interlock.cd.control import Reach, Subject, control_manifests, is_own, subject_of, verbs_inside
from interlock.cd.objects import Body, Resource
from interlock.cd.permissions import Lacking, Need, allowed, forbidden, missing_roles, needs
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract.render import Identity

CONTROL = "interlock-dev"
DEPLOYMENT = Identity("apps", "Deployment", "shop", "web")
RESOURCES = {
    ("apps", "Deployment"): Resource("apps", "v1", "Deployment", "deployments", True),
    ("", "Namespace"): Resource("", "v1", "Namespace", "namespaces", False),
}
PATCH = Need("shop", "apps", "Deployment", "deployments", "patch")


def _verbs(item: PlanItem) -> set[str]:
    return {need.verb for need in needs(Plan("dev", "c" * 40, (item,)), RESOURCES)}


@pytest.mark.parametrize(
    ("item", "verbs"),
    [
        (PlanItem(DEPLOYMENT, Action.CREATE), {"get", "list", "watch", "create", "patch"}),
        (PlanItem(DEPLOYMENT, Action.CHANGE, uid="u"), {"get", "list", "watch", "patch"}),
        (PlanItem(DEPLOYMENT, Action.CHANGE, uid="u", recreated=True), {*verbs_inside("apps", "Deployment")}),
        (PlanItem(DEPLOYMENT, Action.BLOCKED), {"get", "list", "watch", "create", "patch"}),
        (PlanItem(DEPLOYMENT, Action.PRUNE, uid="u"), {"get", "list", "delete"}),
        (PlanItem(DEPLOYMENT, Action.PRUNE, uid="u", release=True), {"get", "list", "patch"}),
        (PlanItem(DEPLOYMENT, Action.UNCHANGED, uid="u"), set()),
        (PlanItem(DEPLOYMENT, Action.FOREIGN, uid="u"), set()),
        (PlanItem(Identity("x.org", "Widget", "shop", "w"), Action.CREATE), set()),
    ],
)
def test_a_plan_needs_what_its_writes_ask_for(item: PlanItem, verbs: set[str]) -> None:
    """A server-side apply of a new object is both a create and a patch; what is not served needs nothing."""
    assert _verbs(item) == verbs


def test_an_object_without_namespace_is_named() -> None:
    """CD has rights on its own Namespaces by name, and lists none."""
    item = PlanItem(Identity("", "Namespace", "", "shop"), Action.CHANGE, uid="u")
    assert needs(Plan("dev", "c" * 40, (item,)), RESOURCES) == (
        Need("", "", "Namespace", "namespaces", "get", "shop"),
        Need("", "", "Namespace", "namespaces", "patch", "shop"),
    )


def test_only_what_lacks_a_right_is_blocked() -> None:
    """Another verb, another kind, or an object that stays as it is, is not concerned."""
    service = PlanItem(Identity("", "Service", "shop", "web"), Action.CREATE)
    leaves = PlanItem(DEPLOYMENT, Action.PRUNE, uid="u")
    stays = PlanItem(DEPLOYMENT, Action.UNCHANGED, uid="u")
    plan = Plan("dev", "c" * 40, (PlanItem(DEPLOYMENT, Action.CHANGE, uid="u"), service, leaves, stays))

    items = forbidden(plan, Lacking("cd", (PATCH,))).items

    assert items[1:] == (service, leaves, stays)
    assert items[0].action == Action.BLOCKED
    assert items[0].reason.startswith("cd may not patch deployments.apps in shop")


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        ({"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"]}, True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}, False),
        ({"verbs": ["patch"], "apiGroups": [""], "resources": ["deployments"]}, False),
        ({"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}, False),
        ({"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"]}, False),
        ({"verbs": ["patch"], "nonResourceURLs": ["*"]}, False),
    ],
)
def test_a_rule_gives_a_right_only_as_a_whole(rule: Body, given: bool) -> None:
    """Verb, group and kind in one rule, and not only for one name."""
    assert allowed(PATCH, [rule]) is given


def test_the_missing_role_binds_who_asks_and_who_writes() -> None:
    """One rule for all kinds that lack the same; the same lack has the same name."""
    lack = Lacking("interlock-cd", (PATCH, Need("shop", "apps", "StatefulSet", "statefulsets", "patch")))
    role, binding = missing_roles(lack, CONTROL)
    assert role["rules"] == [{"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch"]}]
    assert [subject["name"] for subject in binding["subjects"]] == ["interlock-cd", "interlock"]
    assert missing_roles(lack, CONTROL) == (role, binding)
    assert re.fullmatch(r"interlock-interlock-dev-[0-9a-f]{8}", role["metadata"]["name"])
    assert is_own(role, CONTROL, "interlock-cd")
    assert is_own(binding, CONTROL, "interlock-cd")


def test_an_account_is_bound_as_one() -> None:
    """The API server's name of a service account is taken apart; the writing account is bound once."""
    assert subject_of("system:serviceaccount:interlock-dev:interlock") == Subject(
        "ServiceAccount", "interlock", CONTROL
    )
    lack = Lacking("system:serviceaccount:interlock-dev:interlock", (PATCH,))
    assert len(missing_roles(lack, CONTROL)[1]["subjects"]) == 1


@pytest.mark.parametrize("user", [None, Subject("User", "interlock-cd")])
@pytest.mark.parametrize("reach", [None, Reach(written=(("apps/v1", "Deployment", "deployments"),))])
def test_our_own_roles_are_known_and_what_was_changed_in_them_is_not(user: Subject | None, reach: Reach | None) -> None:
    """A role of ours that gives more than whole kinds, and a binding of ours for anybody else, are foreign."""
    bodies = control_manifests(control_namespace=CONTROL, namespaces=["shop"], subject=user, reach=reach)
    inside = [body for body in bodies if body["metadata"].get("namespace") == "shop"]
    assert [body["kind"] for body in inside] == ["Role", "RoleBinding"]
    role, binding = inside
    assert is_own(role, CONTROL, "interlock-cd")
    assert is_own(binding, CONTROL, "interlock-cd")
    exec_rule = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}
    assert not is_own({**role, "rules": [*role["rules"], exec_rule]}, CONTROL, "interlock-cd")
    assert not is_own(
        {**role, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}]}, CONTROL, "interlock-cd"
    )
    mallory = {"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}
    assert not is_own({**binding, "subjects": [mallory]}, CONTROL, "interlock-cd")
    assert not is_own({**binding, "subjects": [*binding["subjects"], mallory]}, CONTROL, "interlock-cd")
    assert not is_own({**binding, "subjects": []}, CONTROL, "interlock-cd")
    assert is_own(binding, CONTROL, "interlock-cd")
    assert is_own(binding, CONTROL, "") is (user is None)


def test_the_least_role_writes_only_the_given_kinds() -> None:
    """The common kinds are read all the same: what is foreign among them has to be seen."""
    bodies = control_manifests(
        control_namespace=CONTROL, namespaces=["shop"], reach=Reach(written=(("x.org/v1", "Widget", "widgets"),))
    )
    (role,) = (b for b in bodies if b["kind"] == "Role" and b["metadata"]["namespace"] == "shop")
    written = {name for rule in role["rules"] if "patch" in rule["verbs"] for name in rule["resources"]}
    read = {name for rule in role["rules"] if "list" in rule["verbs"] for name in rule["resources"]}
    assert written == {"widgets"}
    assert {"widgets", "secrets", "rolebindings"} <= read


def test_a_binding_of_our_name_hides_nobody_in_the_control_namespace() -> None:
    """What bootstrap writes over counts no more; our own account is no other; any other name in ours is somebody."""
    role = {
        "kind": "Role",
        "metadata": {"name": "r"},
        "rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["*"]}],
    }
    writer = {"kind": "ServiceAccount", "namespace": CONTROL, "name": "interlock"}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": f"interlock-{CONTROL}-writer", "namespace": CONTROL},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [writer, ADA],
    }
    assert [grant.subject for grant in grants(CONTROL, roles=[role], bindings=[binding])] == ["User/ada"]
    replaced = {("RoleBinding", f"interlock-{CONTROL}-writer")}
    assert grants(CONTROL, roles=[role], bindings=[binding], replaced=replaced) == ()


def _bindings(role: Body, subject: Body, kind: str = "RoleBinding") -> list[str]:
    binding = {
        "kind": kind,
        "metadata": {"name": "b", "namespace": CONTROL},
        "roleRef": {"kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [subject],
    }
    return [grant.subject for grant in grants(CONTROL, roles=[role], bindings=[binding])]


ADA = {"kind": "User", "name": "ada"}


@pytest.mark.parametrize(
    ("rule", "writes"),
    [
        ({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps", "secrets"]}, False),
        ({"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"]}, True),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["serviceaccounts/token"]}, True),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["*/token"]}, True),
        ({"verbs": ["create"], "apiGroups": ["batch"], "resources": ["jobs"]}, True),
        ({"verbs": ["patch"], "apiGroups": ["*"], "resources": ["leases"]}, True),
        ({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]}, True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True),
        ({"verbs": ["*"], "apiGroups": [""], "resources": ["users"]}, True),
        ({"verbs": ["create", "impersonate"], "apiGroups": [""], "resources": ["groups"]}, True),
        ({"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterrolebindings"]}, True),
        ({"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}, False),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["events"]}, False),
        ({"verbs": ["*"], "apiGroups": ["x.org"], "resources": ["*"]}, False),
        ({"verbs": ["*"], "nonResourceURLs": ["/metrics"]}, False),
    ],
)
def test_who_may_write_in_the_control_namespace_is_found(rule: Body, writes: bool) -> None:
    """Configuration, locks, tokens, and pods that could carry one; reading is not writing."""
    role = {"kind": "Role", "metadata": {"name": "r"}, "rules": [rule]}
    assert _bindings(role, ADA) == (["User/ada"] if writes else [])


@pytest.mark.parametrize(
    ("subject", "counts"),
    [
        ({"kind": "ServiceAccount", "namespace": "kube-system", "name": "namespace-controller"}, False),
        ({"kind": "ServiceAccount", "namespace": "tools", "name": "argo"}, True),
        ({"kind": "ServiceAccount", "name": "default"}, True),
        ({"kind": "User", "name": "system:kube-controller-manager"}, False),
        ({"kind": "Group", "name": "system:masters"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:shop"}, True),
        ({"kind": "Group", "name": "system:unauthenticated"}, True),
        ({"kind": "User", "name": "system:anonymous"}, True),
    ],
)
def test_the_control_plane_itself_is_no_other(subject: Body, counts: bool) -> None:
    """Without its own components there is no cluster; everybody's groups are not its components."""
    role = {
        "kind": "ClusterRole",
        "metadata": {"name": "r"},
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    }
    assert bool(_bindings(role, subject, "ClusterRoleBinding")) is counts
