"""What a host's own file may say: the part that CI, CD and the receiver share.

These files are root-owned and read from INTERLOCK_CONFIG. They hold addresses and paths of files, never a secret.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from interlock.contract.models import CommitId, File, Model, Name, PublicKey, RepositoryName


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{path} must be an absolute path without '..'")
    return path


def _branch(name: str) -> str:
    if any(part in name for part in ("..", "//", "/.", "./")) or name.endswith(".lock"):
        raise ValueError(f"{name!r} is not a branch's name")
    return name


HostPath = Annotated[Path, AfterValidator(_absolute)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=1000)]
"""http or https, without a user in it: credentials are in files."""
Branch = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9._/-]*[A-Za-z0-9_])?$", max_length=200),
    AfterValidator(_branch),
]
Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""A host and a port."""


class Remote(Model):
    """A repository on a git server: its address, its protected branch, the file with `user:password`."""

    url: Url
    branch: Branch = "main"
    auth: HostPath | None = None
    web: Url | None = None
    """What a commit's id is appended to for a link that people can follow."""


class RootPin(Model):
    """The environment repository's first commit, and the keys one of which must have signed it."""

    commit: CommitId
    keys: tuple[PublicKey, ...] = Field(min_length=1)


class Registry(Model):
    """Where images go. `insecure`: plain HTTP, for a sandbox."""

    host: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-]+(:[0-9]+)?$")]
    auth: HostPath | None = None
    insecure: bool = False


ForgeKind = Literal["github", "gitlab", "gitea"]
"""Forgejo is `gitea`."""


class ForgeAccount(Model):
    """A repository on a forge, and the file of the token with which a host speaks to it."""

    kind: ForgeKind
    url: Url
    """Of its API: https://api.github.com, https://gitlab.com, https://codeberg.org; a GitHub of one's own ends in
    /api/v3."""
    project: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$", max_length=300)]
    """Such as acme/shop; for GitLab with all groups."""
    token: HostPath
    """For CI it may write commit statuses and, for the environment repository, pull requests and issues; for CD read
    the settings of the repository and its branches, and pull requests. Nothing else."""


class EnvironmentRemote(Remote):
    name: RepositoryName
    root: RootPin
    reviews: ForgeAccount | None = None
    """The forge that is asked who reviewed, and believed, where `trust/signers.yaml` says so. None: no forge is."""


class LedgerRemote(Remote):
    name: RepositoryName
    unreachable: Literal["stop", "queue"] = "stop"
    """While it does not answer: nothing is applied, or signed receipts wait on the host and are pushed later."""
    keys: tuple[PublicKey, ...] = ()
    """Whose receipts are CD's too: of other CD hosts, and of keys that were in use before."""


class Signing(Model):
    """The signer's name in trust/signers.yaml and the file of its private key."""

    signer: Name
    key: HostPath


class HostFile(File):
    """What every half's file begins with."""

    prefect: Url
    """The address of Prefect's API, such as http://127.0.0.1:4200/api."""
    state: HostPath
    """A folder that the worker's user may write: mirrors, marks, caches."""
    environment_repository: EnvironmentRemote
    signing: Signing
    poll_seconds: int = Field(default=30, ge=1, le=86400)
    """How often the branches are looked at, whatever webhooks say."""

    @model_validator(mode="after")
    def names_differ(self) -> Self:
        name = self.environment_repository.name
        if name in self.other_repositories():
            raise ValueError(f"two repositories are named {name}: their mirrors and events would be the same")
        return self

    def other_repositories(self) -> Collection[str]:
        """What the half has besides the environment repository."""
        return ()


class Hook(Model):
    """The file with the secret that a repository's deliveries are signed with."""

    secret: HostPath


class ReceiverHost(File):
    """receiver.yaml"""

    prefect: Url
    listen: Address = "127.0.0.1:9000"
    state: HostPath = Path("/var/lib/interlock/receiver")
    """Remembers what was delivered, so that a restart forgets nothing."""
    repositories: dict[RepositoryName, Hook] = Field(default={})
