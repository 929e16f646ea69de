"""What stands between an object that Git dropped and its deletion, as the environment's own file says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from interlock.cd.objects import Body, annotation
from interlock.contract.manifest import PRUNE
from interlock.contract.models import Budget, Confirmation, EnvironmentFile
from interlock.contract.render import Identity
from interlock.contract.workloads import mapping

GroupKind = tuple[str, str]
CLAIM: GroupKind = ("", "PersistentVolumeClaim")
VOLUMES: frozenset[GroupKind] = frozenset({CLAIM, ("", "PersistentVolume")})
NAMESPACE: GroupKind = ("", "Namespace")
DEFINITION: GroupKind = ("apiextensions.k8s.io", "CustomResourceDefinition")
CONTAINERS: frozenset[GroupKind] = frozenset({NAMESPACE, DEFINITION})
"""With each of these goes all that is in it."""
PROTECTED = VOLUMES | CONTAINERS
"""Kinds that go only by confirmation, in every environment."""


def group_kind(name: str) -> GroupKind:
    """(`apps`, `Deployment`) of `Deployment.apps`."""
    kind, _, group = name.partition(".")
    return group, kind


def kind_name(identity: Identity) -> str:
    """`Deployment.apps`, `Service`: as KEP-3659 writes what a set contains."""
    return f"{identity.kind}.{identity.group}".rstrip(".")


def within(identity: Identity, container: Identity, live: Mapping[Identity, Body]) -> bool:
    """Whether an object goes along with a Namespace that it is in, or with the definition of its kind."""
    if (container.group, container.kind) == ("", "Namespace"):
        return identity.namespace == container.name
    spec = mapping(live.get(container), ("spec",))
    return (identity.group, identity.kind) == (spec.get("group"), mapping(spec, ("names",)).get("kind"))


def keeps(body: Body) -> bool:
    """Whether a manifest says that its object stays when Git drops it."""
    return annotation(body, PRUNE) == "never"


@dataclass(frozen=True)
class Guards:
    """The rules of one commit for what leaves."""

    protected: frozenset[GroupKind] = PROTECTED
    confirmed: Mapping[str, Confirmation] = field(default_factory=dict)
    """By the UID of the one object that each holds for."""
    budget: Budget = field(default_factory=Budget)
    older: tuple[Budget, ...] = ()
    """Other ones, of the commits before, which hold as well."""
    allowed: str = ""
    """The mark of the changes that may pass over the budget."""
    removed: bool = False
    """The environment has a tombstone."""
    silent: frozenset[str] = frozenset()
    """Applications that Git has and that render no object: an accident more likely than a wish."""

    @classmethod
    def of(cls, file: EnvironmentFile, *, silent: frozenset[str] = frozenset()) -> Guards:
        return cls(
            protected=PROTECTED | {group_kind(name) for name in file.protected},
            confirmed={each.uid: each for each in file.prune},
            budget=file.budget,
            allowed=file.allow.changes if file.allow else "",
            removed=file.state == "removed",
            silent=silent,
        )

    def held_to(self, older: Iterable[EnvironmentFile]) -> Guards:
        """And to the files of the commits before, so that no commit loosens what it is judged by."""
        files = tuple(older)
        kinds = {group_kind(name) for file in files for name in file.protected}
        budgets = [file.budget for file in files if file.budget != self.budget]
        return replace(
            self,
            protected=self.protected | kinds,
            older=tuple(each for at, each in enumerate(budgets) if each not in budgets[:at]),
        )

    def confirmation(self, identity: Identity, uid: str) -> Confirmation | None:
        """The signed word about this very object; none for another one that is named with its UID."""
        found = self.confirmed.get(uid)
        return found if found and names(found, identity) else None


def names(confirmation: Confirmation, identity: Identity) -> bool:
    """Whether a confirmation is about the object of this identity, as far as its name goes."""
    group, kind = group_kind(confirmation.kind)
    return identity == Identity(group, kind, confirmation.namespace or "", confirmation.name)
