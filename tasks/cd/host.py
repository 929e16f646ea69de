"""CD's host file."""

from __future__ import annotations

from pathlib import Path

from interlock.cd.host import CdHost
from tasks.common import host


def load_cd(file: Path | None = None) -> CdHost:
    """cd.yaml, from INTERLOCK_CONFIG unless given; HostConfigError when it is missing or wrong."""
    return host.load(CdHost, file, wanted="a CD host's cd.yaml")
