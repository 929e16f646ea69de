"""What each object in an environment's namespaces is: managed, derived from what is managed, allowed, or foreign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property

from interlock.cd import below, compare
from interlock.cd.conflicts import is_of_kind
from interlock.cd.living import Objects
from interlock.cd.objects import PART_OF, Body, group_of, identify, label, subject
from interlock.cd.plan import Action, PlanItem
from interlock.contract.kinds import BUILT_IN_GROUPS
from interlock.contract.models import AllowedObject
from interlock.contract.render import Identity
from interlock.contract.workloads import mapping


class Standing(StrEnum):
    MANAGED = "managed"
    """Git names it, or it is in the inventory: it has an item of its own."""
    DERIVED = "derived"
    """Kubernetes made it with the namespace, or a controller made it from what is managed."""
    ALLOWED = "allowed"
    """environment.yaml names it."""
    FOREIGN = "foreign"


_MADE_WITH_NAMESPACE = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
_MADE_FROM: Mapping[str, frozenset[str]] = {
    "ReplicaSet": frozenset({"Deployment"}),
    "Pod": frozenset({"ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"}),
    "Job": frozenset({"CronJob"}),
    "PersistentVolumeClaim": frozenset({"StatefulSet", "Pod"}),
    "ControllerRevision": frozenset({"StatefulSet", "DaemonSet"}),
    "ResourceClaim": frozenset({"Pod"}),
}
"""What Kubernetes' own controllers make, and from what; what they did not make they would remove or let go of."""
_SLICES: Mapping[str, str] = {
    "endpointslice-controller.k8s.io": "Service",
    "endpointslicemirroring-controller.k8s.io": "Endpoints",
}
"""Who keeps an EndpointSlice, by its label, and from what. Traffic follows slices of any other keeper, too, whoever
their owner is."""
_SLICE_KEEPER = "endpointslice.kubernetes.io/managed-by"
_CUSTOM_FROM: Mapping[tuple[str, str], frozenset[str]] = {
    ("cert-manager.io", "Certificate"): frozenset({"Ingress"}),
}
"""What somebody's controllers make from built-in kinds. All else of custom kinds is made from custom kinds."""
_NEVER_DERIVED = frozenset({"Role", "RoleBinding", "NetworkPolicy"})
_LONGEST_CHAIN = 8


@dataclass(frozen=True)
class Owner:
    """Whom an object names as its controller. A claim, which anybody may write."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def identities(self) -> tuple[Identity, Identity]:
        """What it may be: beside what it owns, or without a namespace. In another namespace nobody owns anything."""
        group = group_of(self.api_version)
        return Identity(group, self.kind, self.namespace, self.name), Identity(group, self.kind, "", self.name)

    @property
    def custom(self) -> bool:
        return _custom(group_of(self.api_version))


def _custom(group: str) -> bool:
    return group not in BUILT_IN_GROUPS


def _owners(live: Body) -> Iterator[Owner]:
    metadata = live["metadata"]
    for each in metadata.get("ownerReferences") or ():
        if each.get("controller"):
            yield Owner(each["apiVersion"], each["kind"], metadata.get("namespace", ""), each["name"], each["uid"])


@dataclass(frozen=True)
class Census:
    """All that lives in the namespaces. `owners` are further objects that were asked for, as somebody names them."""

    live: Objects
    known: Collection[Identity]
    """What Git names or the inventory has."""
    allowed: tuple[AllowedObject, ...] = ()
    owners: tuple[Body, ...] = ()

    @cached_property
    def _asked(self) -> Objects:
        return Objects.of({identify(body): body for body in self.owners})

    def _named(self, owner: Owner) -> Identity | None:
        """The object that is named, when it lives and has the UID that is named. A UID alone would explain anything."""
        return next((each for each in owner.identities if owner.uid in {*self._uids(each)}), None)

    def _uids(self, identity: Identity) -> Iterator[str]:
        """Without decoding a body: many objects are owned by many others."""
        return (each.uid for found in (self.live, self._asked) if (each := found.living(identity)))

    @cached_property
    def strangers(self) -> tuple[Identity, ...]:
        """What neither Git nor the inventory names."""
        return tuple(sorted(i for i in self.live if i.namespace and i not in self.known))

    def unseen_owners(self) -> tuple[Owner, ...]:
        """The owners of custom kinds that strangers name and that are not among what lives: to be asked for."""
        named = {owner for identity in self.strangers for owner in _owners(self.live[identity])}
        return tuple(
            sorted((each for each in named if each.custom and not self._named(each)), key=lambda each: each.uid)
        )

    def standing(self, identity: Identity) -> tuple[Standing, Identity]:
        """What an object is, and the object at the end of its chain of owners: itself when it has none that counts."""
        for _ in range(_LONGEST_CHAIN):
            if identity in self.known:
                return Standing.MANAGED, identity
            if (identity.kind, identity.name) in _MADE_WITH_NAMESPACE and not identity.group:
                return Standing.DERIVED, identity
            if _is_allowed(identity, self.allowed):
                return Standing.ALLOWED, identity
            owner = self._maker(identity)
            if owner is None:
                break
            identity = owner
        return Standing.FOREIGN, identity

    def changed_below(self, pod: Identity) -> PlanItem | None:
        """A derived pod that does not run what it was made from describes; None when it does."""
        maker = self._maker(pod)
        found = below.changes(self._body(pod), self._body(maker)) if maker else ()
        if maker is None or not found:
            return None
        reason = f"changed below {subject(maker)}, whose controller does not look at it again"
        return PlanItem(pod, Action.FOREIGN, reason, found, manager=found[0].manager)

    def _body(self, identity: Identity) -> Body:
        return self.live.get(identity) or self._asked[identity]

    def _maker(self, identity: Identity) -> Identity | None:
        """The object that made this one, as far as that is sure: it lives with the UID that is named."""
        body = self._body(identity)
        for owner in _owners(body):
            found = self._named(owner)
            if found and _may_make(identity, body, owner) and not self._lets_others_write(identity, found):
                return found
        return self._service_of(identity) if (identity.group, identity.kind) == ("", "Endpoints") else None

    def _lets_others_write(self, made: Identity, service: Identity) -> bool:
        """Whether no controller would mend an EndpointSlice: it looks only after those of Services that select pods."""
        return made.kind == "EndpointSlice" and service.kind == "Service" and not self._selects(service)

    def _selects(self, service: Identity) -> bool:
        return bool(mapping(self.live.get(service), ("spec", "selector")))

    def _service_of(self, endpoints: Identity) -> Identity | None:
        """The Service that a controller fills these Endpoints for: one that selects pods. They name no owner."""
        service = endpoints._replace(kind="Service")
        return service if self._selects(service) else None


def _may_make(made: Identity, body: Body, owner: Owner) -> bool:
    """Whether such an owner makes such objects. Whatever gives rights or keeps them is never believed to be made."""
    if made.kind in _NEVER_DERIVED:
        return False
    if (made.group, made.kind) == ("discovery.k8s.io", "EndpointSlice"):
        return _SLICES.get(label(body, _SLICE_KEEPER)) == owner.kind
    if owner.custom:
        return True
    if _custom(made.group):
        return owner.kind in _CUSTOM_FROM.get((made.group, made.kind), ())
    return owner.kind in _MADE_FROM.get(made.kind, ())


def of(census: Census, *, part_of: str = "") -> tuple[tuple[PlanItem, ...], Mapping[str, int]]:
    """The foreign objects, and how many there are of each standing. What was made from a foreign object is one with
    it: it would go with it. A derived pod that somebody changed has an item too.
    """
    counts: Counter[str] = Counter({Standing.MANAGED.value: len(census.live) - len(census.strangers)})
    made: Counter[Identity] = Counter()
    roots: list[Identity] = []
    changed: list[PlanItem] = []
    for identity in census.strangers:
        standing, end = census.standing(identity)
        if standing is Standing.MANAGED:
            standing = Standing.DERIVED
        if standing is Standing.DERIVED and _is_pod(identity) and (item := census.changed_below(identity)):
            changed.append(item)
        counts[standing.value] += 1
        if standing is Standing.FOREIGN and end != identity and end in census.live:
            made[end] += 1
        elif standing is Standing.FOREIGN:
            roots.append(identity)
    items = (_item(identity, census.live[identity], part_of) for identity in roots)
    return (*(_with_made(item, made[item.identity]) for item in items), *changed), dict(counts)


def _is_pod(identity: Identity) -> bool:
    return (identity.group, identity.kind) == ("", "Pod")


def judging(
    bodies: Mapping[Identity, Body], allowed: Iterable[AllowedObject], *, part_of: str = ""
) -> tuple[PlanItem, ...]:
    """Webhook configurations and admission policies that are asked about what lives in the namespaces, as foreign."""
    rules = tuple(allowed)
    return tuple(
        replace(item, reason=f"{item.reason}; it may {_power(identity)} what is written in the namespaces")
        for identity, body in sorted(bodies.items())
        if not _is_allowed(identity, rules)
        for item in (_item(identity, body, part_of),)
    )


def _power(identity: Identity) -> str:
    return "change" if identity.kind.startswith("Mutating") else "refuse"


def _is_allowed(identity: Identity, rules: Iterable[AllowedObject]) -> bool:
    return any(is_of_kind(rule.kind, identity) and fnmatchcase(identity.name, rule.name) for rule in rules)


def _item(identity: Identity, live: Body, part_of: str) -> PlanItem:
    newest = max(compare.claims(live), key=lambda claim: claim.time, default=None)
    labelled = part_of and label(live, PART_OF) == part_of
    return PlanItem(
        identity,
        Action.FOREIGN,
        "not in Git, not ours" + (", though it carries our label" if labelled else ""),
        manager=newest.manager if newest else "",
        time=live["metadata"].get("creationTimestamp", ""),
    )


def _with_made(item: PlanItem, count: int) -> PlanItem:
    if not count:
        return item
    objects = "1 object was" if count == 1 else f"{count} objects were"
    return replace(item, reason=f"{item.reason}; {objects} made from it")


_THREATS = (
    frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}),
    frozenset({"NetworkPolicy"}),
    frozenset(
        {
            "MutatingAdmissionPolicy",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingWebhookConfiguration",
            "APIService",
        }
    ),
    frozenset(
        {"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"}
    ),
    frozenset({"Service", "Ingress", "Endpoints", "EndpointSlice", "Secret", "ServiceAccount"}),
)


def threat(identity: Identity) -> int:
    """Sorts foreign objects by what they could do: rights first, then who may reach whom, then what runs."""
    return next((place for place, kinds in enumerate(_THREATS) if identity.kind in kinds), len(_THREATS))


def told(counts: Mapping[str, int]) -> str:
    """`12 managed, 30 derived, 2 allowed, 1 foreign`."""
    return ", ".join(f"{counts[each]} {each}" for each in Standing if counts.get(each))
