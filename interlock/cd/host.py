"""cd.yaml: which clusters and namespaces CD's host may touch, whatever a repository says."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from interlock.contract.host import HostFile, HostPath, LedgerRemote
from interlock.contract.models import Model, Name


class Cluster(Model):
    """How a cluster is reached."""

    kubeconfig: HostPath


class Ceiling(Model):
    """The most that an environment may claim, and where its own record lives."""

    cluster: Name
    namespaces: tuple[Name, ...] = Field(min_length=1)
    control_namespace: Name
    """Holds the lock, the record and the inventory; no tenant has rights in it."""
    resync_seconds: int = Field(default=300, ge=10, le=86400)

    @model_validator(mode="after")
    def control_is_apart(self) -> Self:
        if self.control_namespace in self.namespaces:
            raise ValueError(f"control_namespace {self.control_namespace} must not be one of the namespaces")
        return self


class CdHost(HostFile):
    """cd.yaml"""

    ledger: LedgerRemote
    clusters: dict[Name, Cluster] = Field(min_length=1)
    environments: dict[Name, Ceiling] = Field(default={})

    @model_validator(mode="after")
    def clusters_exist(self) -> Self:
        for name, ceiling in self.environments.items():
            if ceiling.cluster not in self.clusters:
                raise ValueError(f"environment {name} is on cluster {ceiling.cluster}, which clusters does not name")
        return self
