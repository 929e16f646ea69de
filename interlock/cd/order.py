"""In which order objects are made and removed: stages of the whole environment, and the graph of its applications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interlock.cd.plan import PlanItem, ReleaseJob, When
from interlock.contract.render import Identity

_DEFINITIONS = ("Namespace", "CustomResourceDefinition")
_FOUNDATIONS = (
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
)
_BINDINGS = frozenset({"ClusterRoleBinding", "RoleBinding"})
_CONFIGURATION = (
    "ConfigMap",
    "Secret",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
)
_ADMISSION = (
    "APIService",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)

STAGES = ("definitions", "foundations", "configuration", "workloads", "admission")
"""By kind. Definitions are waited for; classes, quotas and rights come before what they are for; what could refuse our
own writes comes last."""

_STAGE = {
    kind: name
    for name, kinds in zip(STAGES, (_DEFINITIONS, _FOUNDATIONS, _CONFIGURATION, (), _ADMISSION), strict=True)
    for kind in kinds
}
_PLACE = {kind: place for place, kind in enumerate((*_DEFINITIONS, *_FOUNDATIONS, *_CONFIGURATION))}


def stage_of(identity: Identity) -> str:
    """The stage of a kind. A custom kind is a workload, whatever built-in kind has its name; a class is a class."""
    if identity.kind.endswith("Class") and not identity.namespace:
        return "foundations"
    custom = "." in identity.group and not identity.group.endswith(".k8s.io")
    return "workloads" if custom else _STAGE.get(identity.kind, "workloads")


def rank(identity: Identity) -> tuple[int, int, Identity]:
    """Sorts by stage, then by kind within it, then by name: the same plan has the same order everywhere."""
    return STAGES.index(stage_of(identity)), _PLACE.get(identity.kind, -1), identity


def removal(items: Iterable[PlanItem]) -> tuple[PlanItem, ...]:
    """What is pruned: users before what they use."""
    return tuple(sorted(items, key=lambda item: rank(item.identity), reverse=True))


@dataclass(frozen=True)
class Stage:
    """Objects that are applied side by side, but for bindings: the server wants their roles first."""

    name: str
    items: tuple[PlanItem, ...]

    @property
    def waves(self) -> tuple[tuple[PlanItem, ...], ...]:
        bindings = tuple(item for item in self.items if item.identity.kind in _BINDINGS)
        others = tuple(item for item in self.items if item.identity.kind not in _BINDINGS)
        return tuple(wave for wave in (others, bindings) if wave)


@dataclass(frozen=True)
class Unit:
    """One application's share of a plan: its stages one after the other, once what it waits for is ready."""

    application: str
    after: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    needed: bool = False
    """Whether another one, or a Job of its own, waits for it. Then what could refuse writes is applied with it."""
    jobs: tuple[ReleaseJob, ...] = ()
    """What runs around its release: before its workloads, when it is healthy, and when it fails."""

    @property
    def first(self) -> tuple[Stage, ...]:
        """What its Jobs and workloads rest on."""
        return tuple(stage for stage in self.stages if stage.name in {"foundations", "configuration"})

    @property
    def then(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.name == "workloads")

    @property
    def last(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.name == "admission")

    def having(self, when: When) -> tuple[ReleaseJob, ...]:
        return tuple(job for job in self.jobs if job.when == when)


@dataclass(frozen=True)
class Course:
    """All that a plan applies, in order: both stages, then the units as their graph allows, then what comes last."""

    definitions: Stage
    foundations: Stage
    units: tuple[Unit, ...]
    admission: Stage

    @property
    def items(self) -> tuple[PlanItem, ...]:
        stages = [self.definitions, self.foundations, *(stage for unit in self.units for stage in unit.stages)]
        return tuple(item for stage in (*stages, self.admission) for item in stage.items)


def course(items: Iterable[PlanItem], after: Mapping[str, tuple[str, ...]], jobs: Iterable[ReleaseJob] = ()) -> Course:
    """The order of what a plan makes or changes, with the Jobs around it, which may be among the items.

    An application that waits for others keeps its rights and policies with it: the version that runs meanwhile may
    need the ones it has. One that is needed has a unit though nothing of it changes, because it must be healthy.
    """
    running = tuple(jobs)
    apart = {job.identity for job in running}
    chosen = sorted((item for item in items if item.identity not in apart), key=lambda item: rank(item.identity))
    around = [job.application for job in running if job.outstanding]
    changing = dict.fromkeys([*(item.application for item in chosen), *around])
    needed = {other for name in changing for other in after.get(name, ())}
    needed |= {job.application for job in running if job.when != When.BEFORE and job.application in changing}
    shared: dict[str, list[PlanItem]] = {name: [] for name in STAGES}
    own: dict[str, dict[str, list[PlanItem]]] = {name: {} for name in sorted({*changing, *needed})}
    for item in chosen:
        stage = stage_of(item.identity)
        if _is_shared(item, stage, waits=item.application in after, needed=item.application in needed):
            shared[stage].append(item)
        else:
            own[item.application].setdefault(stage, []).append(item)
    return Course(
        definitions=Stage("definitions", tuple(shared["definitions"])),
        foundations=Stage("foundations", tuple(shared["foundations"])),
        units=tuple(
            Unit(
                application=name,
                after=after.get(name, ()) if name in changing else (),
                stages=tuple(Stage(stage, tuple(found)) for stage, found in stages.items()),
                needed=name in needed,
                jobs=tuple(job for job in running if job.application == name),
            )
            for name, stages in own.items()
        ),
        admission=Stage("admission", tuple(shared["admission"])),
    )


def _is_shared(item: PlanItem, stage: str, *, waits: bool, needed: bool) -> bool:
    if stage == "foundations":
        return not waits or not item.identity.namespace
    return stage == "definitions" or (stage == "admission" and not needed)
