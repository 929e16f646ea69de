"""In which order objects are made and removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.cd.plan import PlanItem
from interlock.contract.render import Identity

_DEFINITIONS = ("Namespace", "CustomResourceDefinition")
_CONFIGURATION = (
    "PriorityClass",
    "StorageClass",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
)
_ADMISSION = (
    "APIService",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)

STAGES = ("definitions", "configuration", "workloads", "admission")
"""Definitions are waited for before the next stage begins; what could refuse our own writes comes last."""


@dataclass(frozen=True)
class Stage:
    name: str
    items: tuple[PlanItem, ...]


_STAGE = {
    kind: name
    for name, kinds in (("definitions", _DEFINITIONS), ("configuration", _CONFIGURATION), ("admission", _ADMISSION))
    for kind in kinds
}
_PLACE = {kind: place for place, kind in enumerate((*_DEFINITIONS, *_CONFIGURATION))}


def stage_of(identity: Identity) -> str:
    return _STAGE.get(identity.kind, "workloads")


def rank(identity: Identity) -> tuple[int, int, Identity]:
    """Sorts by stage, then by kind within it, then by name: the same plan has the same order everywhere."""
    return STAGES.index(stage_of(identity)), _PLACE.get(identity.kind, len(_PLACE)), identity


def stages(items: Iterable[PlanItem]) -> tuple[Stage, ...]:
    """What is applied, stage by stage; empty stages are left out."""
    ordered = sorted(items, key=lambda item: rank(item.identity))
    found = ((name, tuple(item for item in ordered if stage_of(item.identity) == name)) for name in STAGES)
    return tuple(Stage(name, chosen) for name, chosen in found if chosen)


def removal(items: Iterable[PlanItem]) -> tuple[PlanItem, ...]:
    """What is pruned: users before what they use."""
    return tuple(sorted(items, key=lambda item: rank(item.identity), reverse=True))
