"""ci.yaml: what CI's host may build, scan, sign and push."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.contract.builtin import Known
from interlock.contract.declaration import Ground
from interlock.contract.forge import ForgeAccount
from interlock.contract.host import EnvironmentRemote, HostFile, HostPath, Registry, Remote, Signing, Url
from interlock.contract.models import File, Model, Name, RepositoryName


class Download(Model):
    """Where the vulnerability database comes from. Variables that a worker inherits do not count."""

    repository: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._:/@-]*$")] | None = None
    """An OCI repository, such as a mirror of one's own; None: Trivy's."""
    proxy: Annotated[str, StringConstraints(pattern=r"^https?://.+$")] | None = None
    certificates: HostPath | None = None
    """A file with the authorities to trust, instead of the system's."""

    @property
    def options(self) -> tuple[str, ...]:
        return ("--db-repository", self.repository) if self.repository else ()

    @property
    def environment(self) -> dict[str, str]:
        proxy = {"HTTPS_PROXY": self.proxy} if self.proxy else {}
        return proxy | ({"SSL_CERT_FILE": str(self.certificates)} if self.certificates else {})


class Trivy(Model):
    """The scanner's cache. A pinned database is never downloaded, and every report says that it is pinned."""

    cache: HostPath
    database: Literal["pinned", "download"] = "download"
    digest: Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Of the only database that is accepted, as `sha256:`…; for a pinned one."""
    download: Download = Download()


SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class BuildKit(Model):
    """BuildKit, asked by `docker buildx`. Without `address` it is the one in the Docker daemon."""

    buildx: HostPath
    """The program: `docker-buildx` among the command line's plug-ins, or `buildx`."""
    address: Annotated[str, StringConstraints(pattern=r"^(unix:///|tcp://).+$")] | None = None
    """Of a buildkitd. Only it makes the same image twice, and has a cache in the registry."""
    cgroup: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/][A-Za-z0-9_./:-]*$", max_length=200)] | None = None
    """The control group in which steps run, such as `builds.slice`: its limits, which root sets, are theirs."""
    cache: bool = False
    """Whether built layers go into the registry too, beside the images, under the tag il-cache."""

    @model_validator(mode="after")
    def cache_has_a_daemon(self) -> Self:
        if self.cache and not self.address:
            raise ValueError("a cache in the registry needs `address`: the Docker daemon's BuildKit has none")
        return self


class BuildLimits(Model):
    """What each step of a build may take of the host, with the daemon's classic builder.

    BuildKit limits its steps by a control group: `cgroup` in `buildkit`.
    """

    memory_mib: int = Field(default=4096, ge=64, le=1 << 22)
    """A step that takes more is killed; nothing of it is swapped."""
    processors: float = Field(default=2, ge=0.1, le=1024)


class CiHost(HostFile):
    """ci.yaml"""

    repositories: dict[RepositoryName, Remote] = Field(default={})
    """The application repositories; nothing else is ever built."""
    release_keys: dict[RepositoryName, Signing] = Field(default={})
    """By application repository: as whom, and with which key, its release commits are signed; else as `signing` says.

    Whoever has one of these keys can write what that signer's bindings give it, and nothing of another's.
    """
    registry: Registry
    docker: Annotated[str, StringConstraints(pattern=r"^(unix:///|tcp://|https?://).+$")] = (
        "unix:///var/run/docker.sock"
    )
    trivy: Trivy
    builder: Literal["auto", "buildx", "daemon"] = "auto"
    """Without `buildkit`: the Docker daemon's BuildKit where docker buildx is installed, or always, or never."""
    buildkit: BuildKit | None = None
    build_secrets: dict[RepositoryName, dict[SecretName, HostPath]] = Field(default={})
    """Files that RUN --mount=type=secret may have, by repository and id. Only BuildKit has them."""
    build_limits: BuildLimits = BuildLimits()
    build_seconds: int = Field(default=1800, ge=10, le=86400)
    log_mib: int = Field(default=16, ge=1, le=1024)
    """So much is kept of what one build, or the tests of one component, print, before it is compressed."""
    logs_kept: int = Field(default=40, ge=2, le=10000)
    """So many of these files stay for each component: a build has one, its tests another."""
    components_at_once: int = Field(default=2, ge=1, le=64)
    """How many components of one push are built, scanned and tested at a time; a build takes what it gets."""
    signer: HostPath | None = None
    """The socket of the signer, an own process that has the attestation keys. Without one, evidence is not signed."""
    rescan_seconds: int = Field(default=86400, ge=60, le=30 * 86400)
    """How often what is released is judged again by the vulnerabilities that are known then."""
    forges: dict[RepositoryName, ForgeAccount] = Field(default={})
    """By repository, the environment repository included: where CI says on the forge what came of a commit."""
    prefect_ui: Url | None = None
    """Where people see runs, such as https://prefect.example; without it, statuses on a forge have no link."""

    @model_validator(mode="after")
    def forges_are_of_repositories(self) -> Self:
        if unknown := sorted(self.forges.keys() - {*self.repositories, self.environment_repository.name}):
            raise ValueError(f"forges: no repository is named {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def release_keys_are_of_repositories(self) -> Self:
        if unknown := sorted(self.release_keys.keys() - self.repositories.keys()):
            raise ValueError(f"release_keys names {', '.join(unknown)}, which repositories does not have")
        pairs = {(each.signer, each.key) for each in (self.signing, *self.release_keys.values())}
        for what, count in (("signers", len({name for name, _ in pairs})), ("keys", len({key for _, key in pairs}))):
            if count != len(pairs):
                raise ValueError(f"release_keys: a signer has one key and a key one signer; here are {count} {what}")
        return self

    @model_validator(mode="after")
    def secrets_have_a_builder(self) -> Self:
        if self.buildkit and self.builder == "daemon":
            raise ValueError("`builder: daemon` is the classic builder, and `buildkit` names another: leave one out")
        if self.build_secrets and self.buildkit is None and self.builder != "buildx":
            raise ValueError(
                "build_secrets needs `buildkit` or `builder: buildx`: the classic builder would put them into the image"
            )
        if unknown := sorted(self.build_secrets.keys() - self.repositories.keys()):
            raise ValueError(f"build_secrets names {', '.join(unknown)}, which repositories does not have")
        return self

    def other_repositories(self) -> Collection[str]:
        return self.repositories

    def signing_of(self, repository: str) -> Signing:
        """As whom a repository's release commits are signed."""
        return self.release_keys.get(repository, self.signing)

    @property
    def signings(self) -> tuple[Signing, ...]:
        """All, the host's own first, each once."""
        return tuple({each.signer: each for each in (self.signing, *self.release_keys.values())}.values())

    @property
    def known(self) -> Known:
        """What a run's parameters may name here."""
        return {"repository": self.repositories}

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """CI has one pool."""
        values: dict[str, str | int] = {
            "environment_repository": self.environment_repository.name,
            "poll_seconds": self.poll_seconds,
            "rescan_seconds": self.rescan_seconds,
        }
        each = tuple({"repository": name} for name in sorted(self.repositories))
        return (Ground(pool="interlock-ci", known=self.known, values=values, each=each),)


class KeySource(Model):
    """Where an attestation key is: in a file of the signer's user alone, in one of its variables, or in a KMS."""

    file: HostPath | None = None
    environment: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    """The variable's name. The signer takes it out of its own environment once it has read it."""
    kms: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*:[^\s]+$")] | None = None
    """An address such as `acme:keys/shop`, of which the part before the colon names the plug-in that knows it."""

    @model_validator(mode="after")
    def one_place(self) -> Self:
        if sum(place is not None for place in (self.file, self.environment, self.kms)) != 1:
            raise ValueError("name one of file, environment and kms")
        return self


class SignedRepository(Remote):
    """An application repository, and the key that signs what is said about images that are built from it."""

    key: KeySource
    builder: Name | None = None
    """CI's name in trust/signers.yaml for this repository; without it, the host's `builder`."""


class SignerHost(File):
    """signer.yaml"""

    listen: HostPath
    """The socket. Its folder belongs to the signer's user."""
    clients: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$|^[0-9]+$")], ...] = Field(
        min_length=1
    )
    """The users, by name or number, that may ask: CI's worker. The kernel says who it is that asks."""
    builder: Name
    """CI's name in trust/signers.yaml: what its bindings give it may be signed, and nothing else.

    A repository for which CI goes by another name says so itself.
    """
    state: HostPath
    """A folder that the signer's user may write: its own mirrors."""
    environment_repository: EnvironmentRemote
    registry: Registry
    repositories: dict[RepositoryName, SignedRepository] = Field(default={})
    must_not_reach: tuple[HostPath, ...] = (Path("/var/run/docker.sock"), Path("/run/containerd/containerd.sock"))
    """Sockets through which one would be root: the signer does not start when it can reach one."""
