"""cd.yaml: which clusters and namespaces CD's host may touch, whatever a repository says."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Self

from pydantic import Field, model_validator

from interlock.contract.builtin import Known
from interlock.contract.declaration import Ground
from interlock.contract.host import HostFile, HostPath, LedgerRemote
from interlock.contract.models import ClusterKind, Model, Name


class Cluster(Model):
    """How a cluster is reached."""

    kubeconfig: HostPath


class Ceiling(Model):
    """The most that an environment may claim, and where its own record lives."""

    cluster: Name
    namespaces: tuple[Name, ...] = Field(min_length=1)
    control_namespace: Name
    """Holds the lock, the record and the inventory; no tenant has rights in it."""
    cluster_kinds: tuple[ClusterKind, ...] = ()
    """Kinds without namespaces that it may have; what it makes of them holds in the whole cluster."""
    resync_seconds: int = Field(default=300, ge=10, le=86400)

    @model_validator(mode="after")
    def control_is_apart(self) -> Self:
        if self.control_namespace in self.namespaces:
            raise ValueError(f"control_namespace {self.control_namespace} must not be one of the namespaces")
        return self

    def beyond(self, cluster: str, namespaces: Iterable[str], cluster_kinds: Iterable[str]) -> str:
        """What of an environment's wishes this does not give, in words; nothing when it gives all."""
        if cluster != self.cluster:
            return f"cluster {cluster}"
        spaces = (f"namespace {name}" for name in sorted(set(namespaces) - set(self.namespaces)))
        kinds = (f"kind {kind}" for kind in sorted(set(cluster_kinds) - set(self.cluster_kinds)))
        return ", ".join((*spaces, *kinds))


class CdHost(HostFile):
    """cd.yaml"""

    ledger: LedgerRemote
    clusters: dict[Name, Cluster] = Field(default={})
    environments: dict[Name, Ceiling] = Field(default={})

    @model_validator(mode="after")
    def clusters_exist(self) -> Self:
        for name, ceiling in self.environments.items():
            if ceiling.cluster not in self.clusters:
                raise ValueError(f"environment {name} is on cluster {ceiling.cluster}, which clusters does not name")
        return self

    def other_repositories(self) -> Collection[str]:
        return (self.ledger.name,)

    @property
    def known(self) -> Known:
        """What a run's parameters may name here."""
        return {"environment": self.environments}

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """CD has a pool for each cluster."""
        return tuple(self._ground(cluster) for cluster in sorted(self.clusters))

    def _ground(self, cluster: str) -> Ground:
        mine = {name: ceiling for name, ceiling in sorted(self.environments.items()) if ceiling.cluster == cluster}
        return Ground(
            pool=f"interlock-cd-{cluster}",
            known={"environment": mine},
            values={
                "cluster": cluster,
                "environment_repository": self.environment_repository.name,
                "poll_seconds": self.poll_seconds,
            },
            each=tuple({"environment": name, "resync_seconds": one.resync_seconds} for name, one in mine.items()),
        )
