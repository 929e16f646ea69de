"""CI's host file."""

from __future__ import annotations

from pathlib import Path

from interlock.ci.host import CiHost, SignerHost
from tasks.common import host


def load_ci(file: Path | None = None) -> CiHost:
    """ci.yaml, from INTERLOCK_CONFIG unless given; HostConfigError when it is missing or wrong."""
    return host.load(CiHost, file, wanted="a CI host's ci.yaml")


def load_signer(file: Path | None = None) -> SignerHost:
    """signer.yaml, likewise."""
    return host.load(SignerHost, file, wanted="a signer's signer.yaml")
