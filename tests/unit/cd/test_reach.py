"""The rights that follow from what an environment has."""

from __future__ import annotations

from interlock.cd.control import PROBE, control_manifests
from interlock.cd.definitions import defined
from interlock.cd.objects import Body, Resource
from interlock.cd.permissions import control_needs
from interlock.cd.reach import reach_of
from interlock.contract.render import Identity

CONTROL = "interlock-dev"
DEFINITION = Identity("apiextensions.k8s.io", "CustomResourceDefinition", "", "walls.example.org")
SERVED = {
    (each.group, each.kind): each
    for each in (
        Resource("", "v1", "ConfigMap", "configmaps", True),
        Resource("", "v1", "Namespace", "namespaces", False),
        Resource("example.org", "v1", "Wall", "walls", False),
        Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    )
}
HAS = (
    Identity("", "ConfigMap", "shop", "c"),
    Identity("", "Namespace", "", "shop"),
    Identity("example.org", "Wall", "", "around"),
    DEFINITION,
)


def _rules(*identities: Identity) -> dict[tuple[str, str, tuple[str, ...]], list[str]]:
    """Of the ClusterRole, by group, plural and names: the verbs."""
    reach = reach_of(identities, SERVED, namespaces=["shop", "more"])
    bodies = control_manifests(control_namespace=CONTROL, namespaces=["shop", "more"], reach=reach)
    (role,) = (body for body in bodies if body["kind"] == "ClusterRole")
    return {
        (rule["apiGroups"][0], plural, tuple(rule.get("resourceNames", ()))): rule["verbs"]
        for rule in role["rules"]
        for plural in rule["resources"]
    }


def test_what_is_in_no_namespace_is_given_by_name() -> None:
    """Never a whole kind, but to list what a definition of ours would take along."""
    rules = _rules(*HAS)
    assert rules["example.org", "walls", ("around",)] == ["get", "create", "patch", "delete"]
    assert rules["example.org", "walls", (PROBE,)] == ["create", "patch"]
    assert rules["example.org", "walls", ()] == ["list"]
    definitions = {key[2] for key in rules if key[1] == "customresourcedefinitions"}
    assert definitions == {("walls.example.org",)}
    assert rules["", "namespaces", ("shop",)] == ["create", "patch", "delete"]
    assert rules["", "namespaces", ("shop", "more")] == ["get"]


def test_without_anything_beside_there_are_no_rights_beside() -> None:
    """But to look at its namespaces and at what judges objects."""
    assert {(group, verb) for (group, _, _), verbs in _rules(HAS[0]).items() for verb in verbs} == {
        ("", "get"),
        ("admissionregistration.k8s.io", "list"),
    }


def test_what_the_lock_and_the_record_need_is_what_is_given_there() -> None:
    """For a user and for the account itself; names of objects and sub-resources as a review asks for them."""
    for username in ("interlock-cd", f"system:serviceaccount:{CONTROL}:interlock"):
        asked = {(need.plural, need.verb): need.attributes for need in control_needs(username, CONTROL)}
        assert asked["serviceaccounts/token", "create"] == {
            "namespace": CONTROL,
            "group": "",
            "resource": "serviceaccounts",
            "subresource": "token",
            "verb": "create",
            "name": "interlock",
        }
        assert ("configmaps", "create") in asked
        assert (("configmaps", "delete") in asked) is (username != "interlock-cd")
        assert ("leases", "update") in asked


def _definition(**spec: object) -> Body:
    body: Body = {
        "group": "example.org",
        "scope": "Cluster",
        "names": {"kind": "Wall", "plural": "walls"},
        "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}],
    }
    version = "apiextensions.k8s.io/v1"
    return {"apiVersion": version, "kind": "CustomResourceDefinition", "spec": {**body, **spec}}


def test_a_kind_is_known_by_its_definition_before_it_is_served() -> None:
    """At the versions that will be served; a definition that says too little defines nothing."""
    assert defined([_definition()]) == (Resource("example.org", "v1", "Wall", "walls", False),)
    assert defined([_definition(scope="Namespaced")])[0].namespaced
    odd: list[Body] = [
        _definition(versions="v1"),
        _definition(names={}),
        {"kind": "CustomResourceDefinition"},
        {"kind": "X"},
    ]
    assert defined(odd) == ()
