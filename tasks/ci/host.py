"""CI's host file."""

from __future__ import annotations

from pathlib import Path

from interlock.ci.host import CiHost
from tasks.common import host


def load_ci(file: Path | None = None) -> CiHost:
    """ci.yaml, from INTERLOCK_CONFIG unless given; HostConfigError when it is missing or wrong."""
    return host.load(CiHost, file)
