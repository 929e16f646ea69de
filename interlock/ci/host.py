"""ci.yaml: what CI's host may build, scan, sign and push."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.contract.builtin import Known
from interlock.contract.declaration import Ground
from interlock.contract.host import EnvironmentRemote, HostFile, HostPath, Remote, Url
from interlock.contract.models import File, Model, Name, RepositoryName


class Registry(Model):
    """Where images go. `insecure`: plain HTTP, for a sandbox."""

    host: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-]+(:[0-9]+)?$")]
    auth: HostPath | None = None
    insecure: bool = False


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


class ForgeAccount(Model):
    """A repository on a forge, and the file of the token with which CI speaks to it."""

    kind: Literal["github", "gitlab", "gitea"]
    """Forgejo is `gitea`."""
    url: Url
    """Of its API: https://api.github.com, https://gitlab.com, https://codeberg.org; a GitHub of one's own ends in
    /api/v3."""
    project: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$", max_length=300)]
    """Such as acme/shop; for GitLab with all groups."""
    token: HostPath
    """It may write commit statuses and, for the environment repository, pull requests and issues; nothing else."""


SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class BuildKit(Model):
    """BuildKit, asked by `docker buildx`. Without `address` it is the one in the Docker daemon."""

    buildx: HostPath
    """The program: `docker-buildx` among the command line's plug-ins, or `buildx`."""
    address: Annotated[str, StringConstraints(pattern=r"^(unix:///|tcp://).+$")] | None = None
    """Of a buildkitd. Only it makes the same image twice, and has a cache in the registry."""
    cache: bool = False
    """Whether built layers go into the registry too, beside the images, under the tag il-cache."""

    @model_validator(mode="after")
    def cache_has_a_daemon(self) -> Self:
        if self.cache and not self.address:
            raise ValueError("a cache in the registry needs `address`: the Docker daemon's BuildKit has none")
        return self


class CiHost(HostFile):
    """ci.yaml"""

    repositories: dict[RepositoryName, Remote] = Field(default={})
    """The application repositories; nothing else is ever built."""
    registry: Registry
    docker: Annotated[str, StringConstraints(pattern=r"^(unix:///|tcp://|https?://).+$")] = (
        "unix:///var/run/docker.sock"
    )
    trivy: Trivy
    buildkit: BuildKit | None = None
    """Without it, images are built with the Docker daemon's classic builder."""
    build_secrets: dict[RepositoryName, dict[SecretName, HostPath]] = Field(default={})
    """Files that RUN --mount=type=secret may have, by repository and id. Only BuildKit has them."""
    build_seconds: int = Field(default=1800, ge=10, le=86400)
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
    def secrets_have_a_builder(self) -> Self:
        if self.build_secrets and self.buildkit is None:
            raise ValueError("build_secrets needs `buildkit`: the classic builder would put them into the image")
        if unknown := sorted(self.build_secrets.keys() - self.repositories.keys()):
            raise ValueError(f"build_secrets names {', '.join(unknown)}, which repositories does not have")
        return self

    def other_repositories(self) -> Collection[str]:
        return self.repositories

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


class SignerHost(File):
    """signer.yaml"""

    listen: HostPath
    """The socket. Its folder belongs to the signer's user."""
    clients: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$|^[0-9]+$")], ...] = Field(
        min_length=1
    )
    """The users, by name or number, that may ask: CI's worker. The kernel says who it is that asks."""
    builder: Name
    """CI's name in trust/signers.yaml: what its bindings give it may be signed, and nothing else."""
    state: HostPath
    """A folder that the signer's user may write: its own mirrors."""
    environment_repository: EnvironmentRemote
    registry: Registry
    repositories: dict[RepositoryName, SignedRepository] = Field(default={})
    must_not_reach: tuple[HostPath, ...] = (Path("/var/run/docker.sock"), Path("/run/containerd/containerd.sock"))
    """Sockets through which one would be root: the signer does not start when it can reach one."""
