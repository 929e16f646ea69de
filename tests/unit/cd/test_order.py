"""In which order a plan's objects are made: stages of the environment, and a graph of applications."""

from __future__ import annotations

import pytest

from interlock.cd.order import course, removal, stage_of
from interlock.cd.plan import Action, PlanItem
from interlock.contract.render import Identity

RBAC, ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"


def item(kind: str, name: str = "x", *, group: str = "", namespace: str = "shop", application: str = "web") -> PlanItem:
    return PlanItem(Identity(group, kind, namespace, name), Action.CREATE, application=application)


ALL = (
    item("ValidatingWebhookConfiguration", group=ADMISSION, namespace=""),
    item("Deployment", group="apps"),
    item("Service"),
    item("ConfigMap"),
    item("Role", group=RBAC),
    item("ClusterRole", group=RBAC, namespace=""),
    item("StorageClass", group="storage.k8s.io", namespace=""),
    item("CustomResourceDefinition", group="apiextensions.k8s.io", namespace=""),
    item("Namespace", namespace=""),
)


def kinds(items: tuple[PlanItem, ...]) -> list[str]:
    return [each.identity.kind for each in items]


def test_stages_come_in_order_and_objects_by_kind() -> None:
    """Namespaces and custom kinds, classes and rights, then an application's configuration before its workloads."""
    order = course(ALL, {})

    assert kinds(order.definitions.items) == ["Namespace", "CustomResourceDefinition"]
    assert kinds(order.foundations.items) == ["StorageClass", "ClusterRole", "Role"]
    assert [(stage.name, kinds(stage.items)) for unit in order.units for stage in unit.stages] == [
        ("configuration", ["ConfigMap", "Service"]),
        ("workloads", ["Deployment"]),
    ]
    assert kinds(order.admission.items) == ["ValidatingWebhookConfiguration"]
    assert sorted(order.items, key=str) == sorted(ALL, key=str)


def test_removing_mirrors_making() -> None:
    """Users go before what they use."""
    assert kinds(removal(ALL)) == kinds(course(ALL, {}).items)[::-1]


def test_who_waits_keeps_his_rights_with_him() -> None:
    """The version that runs meanwhile may need the rights that it has; what the whole cluster shares comes first."""
    order = course([*ALL, item("ConfigMap", application="base")], {"web": ("base",)})

    assert kinds(order.foundations.items) == ["StorageClass", "ClusterRole"]
    base, web = order.units
    assert (base.application, base.after, base.needed) == ("base", (), True)
    assert (web.application, web.after, web.needed) == ("web", ("base",), False)
    assert [stage.name for stage in web.stages] == ["foundations", "configuration", "workloads"]


def test_who_is_needed_has_a_unit_though_nothing_of_it_changes() -> None:
    """It has to be healthy before the other begins; what it waits for itself does not matter then."""
    order = course([item("ConfigMap")], {"web": ("base",), "base": ("disk",)})
    assert [(unit.application, unit.after, unit.needed, unit.stages != ()) for unit in order.units] == [
        ("base", (), True, False),
        ("web", ("base",), False, True),
    ]


def test_webhooks_come_last_of_all_or_before_whoever_waits_for_them() -> None:
    """Nothing of an order is refused by a webhook of its own; but who waits for an application wants it whole."""
    webhook = item("ValidatingWebhookConfiguration", group=ADMISSION, namespace="", application="policy")
    assert course([webhook], {}).admission.items == (webhook,)
    order = course([webhook, item("ConfigMap")], {"web": ("policy",)})
    assert order.admission.items == ()
    assert [stage.name for stage in order.units[0].stages] == ["admission"]


@pytest.mark.parametrize(
    ("identity", "stage"),
    [
        (Identity("iam.example.org", "Role", "shop", "x"), "workloads"),
        (Identity("example.org", "Namespace", "shop", "x"), "workloads"),
        (Identity("gateway.networking.k8s.io", "GatewayClass", "", "x"), "foundations"),
        (Identity("example.org", "MidClass", "shop", "x"), "workloads"),
        (Identity("networking.k8s.io", "NetworkPolicy", "shop", "x"), "foundations"),
    ],
)
def test_a_custom_kind_is_a_workload_whatever_its_name(identity: Identity, stage: str) -> None:
    """Only built-in kinds have a stage by name, and classes, which belong to the cluster."""
    assert stage_of(identity) == stage
