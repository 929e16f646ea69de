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


class Trivy(Model):
    """The scanner's cache. A pinned database is never downloaded, and every report says that it is pinned."""

    cache: HostPath
    database: Literal["pinned", "download"] = "download"


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
