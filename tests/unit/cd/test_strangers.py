"""Every object in a namespace is managed, derived, allowed, or foreign."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd import strangers
from interlock.cd.living import Objects
from interlock.cd.objects import Body, identify
from interlock.cd.strangers import Census, Standing
from interlock.contract.models import AllowedObject
from interlock.contract.render import Identity

WEB = Identity("apps", "Deployment", "shop", "web")
SITE = Identity("certs.example", "Site", "shop", "web")
SLICE_KEEPER = "endpointslice.kubernetes.io/managed-by"
GROUPS = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "Certificate": "certs.example/v1",
    "Site": "certs.example/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}


def _body(kind: str, name: str, *owners: tuple[str, str], uid: str = "", controller: bool = True) -> Body:
    """An object whose UID is `kind/name` unless said otherwise; `owners` are kind and UID."""
    references = [
        {"apiVersion": GROUPS.get(k, "v1"), "kind": k, "name": u.split("/")[-1], "uid": u, "controller": controller}
        for k, u in owners
    ]
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": uid or f"{kind}/{name}"}
    if references:
        metadata["ownerReferences"] = references
    return {"apiVersion": GROUPS.get(kind, "v1"), "kind": kind, "metadata": metadata}


def _census(*bodies: Body, allowed: tuple[AllowedObject, ...] = (), owners: tuple[Body, ...] = ()) -> Census:
    """With a managed Deployment and a managed Site of the name web."""
    live = Objects.of({identify(body): body for body in (_body("Deployment", "web"), _body("Site", "web"), *bodies)})
    return Census(live, {WEB, SITE}, allowed, owners)


def _standings(*bodies: Body, **more: Any) -> dict[str, int]:
    return {name: n for name, n in strangers.of(_census(*bodies, **more))[1].items() if name != Standing.MANAGED}


SET, POD = (
    _body("ReplicaSet", "web-1", ("Deployment", "Deployment/web")),
    _body("Pod", "p", ("ReplicaSet", "ReplicaSet/web-1")),
)


def test_a_chain_of_owners_that_ends_in_a_managed_object_derives() -> None:
    """Pod, ReplicaSet, managed Deployment; what Kubernetes puts into every namespace is derived too."""
    made = (_body("ServiceAccount", "default"), _body("ConfigMap", "kube-root-ca.crt"))
    assert _standings(SET, POD, *made) == {"derived": 4}
    assert strangers.of(_census(SET))[1] == {"managed": 2, "derived": 1}


def _of_another_group(body: Body) -> Body:
    """It says that its owner is of a custom kind, by the UID of one that is not."""
    body["metadata"]["ownerReferences"][0]["apiVersion"] = "evil.example/v1"
    return body


def _kept(body: Body, keeper: str = "endpointslice-controller.k8s.io") -> Body:
    body["metadata"]["labels"] = {SLICE_KEEPER: keeper}
    return body


@pytest.mark.parametrize(
    "forged",
    [
        _body("Pod", "p", ("ReplicaSet", "made-up")),
        _body("Pod", "p", ("ReplicaSet", "Deployment/web")),
        _body("Pod", "p", ("Deployment", "Deployment/web")),
        _body("Deployment", "d", ("Deployment", "Deployment/web")),
        _body("Secret", "s", ("Deployment", "Deployment/web")),
        _body("ReplicaSet", "r", ("Deployment", "Deployment/web"), controller=False),
        _body("RoleBinding", "r", ("Certificate", "Certificate/c")),
        _body("Secret", "s", ("Certificate", "Certificate/unseen")),
        _body("Pod", "p", ("ReplicaSet", "Pod/p")),
        _body("Certificate", "d", ("Deployment", "Deployment/web")),
        _of_another_group(_body("Pod", "p", ("Deployment", "Deployment/web"))),
        _body("EndpointSlice", "e", ("Service", "Service/web")),
        _body("EndpointSlice", "e", ("Site", "Site/web")),
        _kept(_body("EndpointSlice", "e", ("Site", "Site/web"))),
        _body("Endpoints", "web"),
    ],
    ids=str,
)
def test_a_forged_owner_derives_nothing(forged: Body) -> None:
    """Of a UID that does not live, of another kind or group than it says, that makes no such objects, that is not seen;
    of what gives rights; or endpoints that no controller keeps.
    """
    owned = _body("Certificate", "c", ("Site", "Site/web"))
    assert _standings(forged, owned) == {"foreign": 1, "derived": 1}


def test_endpoints_are_derived_where_a_controller_keeps_them() -> None:
    """Of a Service that selects pods; one that selects none has what somebody wrote for it."""
    slice_ = _kept(_body("EndpointSlice", "web-1", ("Service", "Service/web")))
    service = {**_body("Service", "web"), "spec": {"selector": {"app": "web"}}}
    both = (slice_, _body("Endpoints", "web"))
    known = {WEB, SITE, identify(service)}
    live = {identify(body): body for body in (service, *both)}
    assert strangers.of(Census(Objects.of(live), known))[1] == {"managed": 1, "derived": 2}
    live[identify(service)] = {**service, "spec": {}}
    assert strangers.of(Census(Objects.of(live), known))[1] == {"managed": 1, "foreign": 2}
    mirrored = _kept(
        _body("EndpointSlice", "m", ("Endpoints", "Endpoints/web")), "endpointslicemirroring-controller.k8s.io"
    )
    items, _ = strangers.of(Census(Objects.of({**live, identify(mirrored): mirrored}), known))
    assert [(item.identity.kind, item.reason) for item in items] == [
        ("Endpoints", "not in Git, not ours; 1 object was made from it"),
        ("EndpointSlice", "not in Git, not ours"),
    ]


def test_owners_of_custom_kinds_are_asked_for_and_believed_by_uid() -> None:
    """A Secret of a Certificate that somebody else's controller keeps, when that ends in what is managed."""
    secret = _body("Secret", "tls", ("Certificate", "Certificate/c"))
    (asked,) = _census(secret).unseen_owners()
    assert (asked.api_version, asked.kind, asked.namespace, asked.name) == (
        "certs.example/v1",
        "Certificate",
        "shop",
        "c",
    )
    owner = _body("Certificate", "c", ("Site", "Site/web"))
    assert _standings(secret, owners=(owner,)) == {"derived": 1}
    assert _standings(secret, owners=(_body("Certificate", "c"),)) == {"foreign": 1}
    assert _standings(secret, owners=(_body("Certificate", "c", uid="other"),)) == {"foreign": 1}


def test_what_a_foreign_object_made_is_told_with_it() -> None:
    """One line for a foreign Deployment with its ReplicaSet and pods."""
    foreign_set = _body("ReplicaSet", "x-1", ("Deployment", "Deployment/x"))
    pods = [_body("Pod", f"p{n}", ("ReplicaSet", "ReplicaSet/x-1")) for n in range(3)]
    items, counts = strangers.of(_census(_body("Deployment", "x"), foreign_set, *pods))
    assert [(item.identity.name, item.reason) for item in items] == [
        ("x", "not in Git, not ours; 4 objects were made from it")
    ]
    assert counts["foreign"] == 5


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("ConfigMap", "mesh-*", "allowed"),
        ("ConfigMap", "mesh-c?", "allowed"),
        ("ConfigMap", "MESH-*", "foreign"),
        ("ConfigMap.apps", "mesh-*", "foreign"),
        ("Secret", "*", "foreign"),
        ("ConfigMap", "mesh", "foreign"),
    ],
)
def test_policy_allows_by_kind_and_name(kind: str, name: str, expected: str) -> None:
    """A pattern is for the whole name, and case counts."""
    rule = AllowedObject(kind=kind, name=name, reason="the mesh puts it there")
    assert _standings(_body("ConfigMap", "mesh-ca"), allowed=(rule,)) == {expected: 1}


def test_what_could_do_most_comes_first() -> None:
    """Rights, then network policies, webhooks, workloads, then all else."""
    kinds = ["ConfigMap", "Service", "Job", "ValidatingWebhookConfiguration", "NetworkPolicy", "RoleBinding"]
    ranked = sorted(kinds, key=lambda kind: strangers.threat(Identity("", kind, "shop", "x")))
    assert ranked == list(reversed(kinds))
