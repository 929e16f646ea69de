"""The forges that a host's file names, whichever half's file it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from interlock.contract.forge import ForgeAccount
from interlock.contract.models import File, RepositoryName
from tasks.common import host


class _Forges(File):
    """What both halves' files may have, among all else."""

    model_config = ConfigDict(extra="ignore")

    forges: dict[RepositoryName, ForgeAccount] = Field(default={})


def read(file: Path | None = None) -> Mapping[str, ForgeAccount]:
    """By repository; HostConfigError when the file is missing, wrong, or not root's alone."""
    return host.load(_Forges, file).forges
