"""How kinds without namespaces are named."""

from __future__ import annotations

import pytest

from interlock.contract.kinds import checked_cluster_kind, cluster_kind


@pytest.mark.parametrize(
    "name", ["ClusterRole", "ClusterIssuer.cert-manager.io", "GatewayClass.gateway.networking.k8s.io"]
)
def test_built_in_kinds_and_custom_ones_with_their_group_may_be_given(name: str) -> None:
    """Also a custom group that ends as built-in ones do."""
    assert checked_cluster_kind(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ClusterRole.rbac.authorization.k8s.io", "named without its group: ClusterRole"),
        ("CSIDriver.storage.k8s.io", "none of"),
        ("Node", "none of"),
        ("Deployment.apps", "none of"),
        ("PersistentVolume", "none of"),
        ("ClusterIssuer", "no custom kind with its group"),
        ("clusterissuers.cert-manager.io", "no custom kind"),
        ("ClusterIssuer.cert-manager.io\n", "no custom kind"),
        ("*.cert-manager.io", "no custom kind"),
    ],
)
def test_nothing_else_may(name: str, said: str) -> None:
    """Other built-in kinds rule the whole cluster, and a name must mean one kind."""
    with pytest.raises(ValueError, match=said):
        checked_cluster_kind(name)


def test_a_custom_kind_never_counts_as_the_built_in_one_of_its_name() -> None:
    """A ClusterRole of another group is another kind."""
    assert cluster_kind("rbac.authorization.k8s.io", "ClusterRole") == "ClusterRole"
    assert cluster_kind("evil.example.org", "ClusterRole") == "ClusterRole.evil.example.org"
