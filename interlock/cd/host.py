"""cd.yaml: which clusters and namespaces CD's host may touch, whatever a repository says."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from interlock.cd.admission_lock import AdmissionLock
from interlock.contract.builtin import Known
from interlock.contract.declaration import Ground
from interlock.contract.forge import ForgeAccount
from interlock.contract.host import HostFile, HostPath, LedgerRemote, Registry
from interlock.contract.models import ClusterKind, Model, Name, RepositoryName


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
    age_identity: HostPath | None = None
    """The file of the private key by which its sealed values are opened; none where it has no sealed values."""
    resync_seconds: int = Field(default=300, ge=10, le=86400)
    admission_lock: AdmissionLock | None = None
    """When it is given, the API server holds others off too, and CD keeps its list of images (docs/lock.md)."""

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


class PullRequests(Model):
    """Where CD says on open pull requests what they would change in its clusters."""

    forge: ForgeAccount
    """The environment repository's, with an account that may read it and comment, and nothing else."""
    again_seconds: int = Field(default=600, ge=60, le=86400)
    """How often an open request is planned again though neither it nor the branch has moved: the cluster may have."""


class CdHost(HostFile):
    """cd.yaml"""

    ledger: LedgerRemote
    evidence: Literal["declared", "required"] = "declared"
    """`required`: nothing runs here unless somebody signed evidence about it, whatever trust/attesters.yaml says."""
    registries: tuple[Registry, ...] = ()
    """Where evidence is asked for, these are asked whether they have the digests that are new here."""
    clusters: dict[Name, Cluster] = Field(default={})
    environments: dict[Name, Ceiling] = Field(default={})
    forges: dict[RepositoryName, ForgeAccount] = Field(default={})
    """By the names of the environment repository and of bound ones: where CD looks how the branch is guarded."""
    guard_seconds: int = Field(default=600, ge=10, le=86400)
    """How often it looks, and asks for the newest statement of freshness."""
    pull_requests: PullRequests | None = None
    deny_list: HostPath = Path("/etc/interlock/deny.yaml")
    """What is never deployed, whatever Git says; `interlock deny` writes it. It need not be there."""

    @model_validator(mode="after")
    def clusters_exist(self) -> Self:
        for name, ceiling in self.environments.items():
            if ceiling.cluster not in self.clusters:
                raise ValueError(f"environment {name} is on cluster {ceiling.cluster}, which clusters does not name")
        return self

    @model_validator(mode="after")
    def commenting_account_is_apart(self) -> Self:
        others = [*self.forges.values(), self.environment_repository.reviews]
        token = self.pull_requests.forge.token if self.pull_requests else None
        if token in {each.token for each in others if each}:
            raise ValueError(f"pull_requests needs a token that may only comment, and {token} is used for more")
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
        # One run looks at the requests for all of the host's clusters, so one pool has the schedule.
        comments = self.pull_requests is not None and cluster == min(self.clusters)
        return Ground(
            pool=f"interlock-cd-{cluster}",
            known={"environment": mine},
            values={
                "cluster": cluster,
                "environment_repository": self.environment_repository.name,
                "poll_seconds": self.poll_seconds,
                "guard_seconds": self.guard_seconds,
                **({"request_seconds": self.poll_seconds} if comments else {}),
            },
            each=tuple({"environment": name, "resync_seconds": one.resync_seconds} for name, one in mine.items()),
        )
