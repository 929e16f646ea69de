"""ci.yaml: what CI's host may build, scan, sign and push."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from interlock.contract.builtin import Known
from interlock.contract.declaration import Ground
from interlock.contract.host import HostFile, HostPath, Remote
from interlock.contract.models import Model, RepositoryName


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


class CiHost(HostFile):
    """ci.yaml"""

    repositories: dict[RepositoryName, Remote] = Field(default={})
    """The application repositories; nothing else is ever built."""
    registry: Registry
    docker: Annotated[str, StringConstraints(pattern=r"^(unix:///|tcp://|https?://).+$")] = (
        "unix:///var/run/docker.sock"
    )
    trivy: Trivy
    build_seconds: int = Field(default=1800, ge=10, le=86400)

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
        }
        each = tuple({"repository": name} for name in sorted(self.repositories))
        return (Ground(pool="interlock-ci", known=self.known, values=values, each=each),)
