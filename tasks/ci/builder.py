"""Looking for `docker buildx` where Docker's packages put it for all users."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from interlock.ci.builder import Chosen, choose
from interlock.ci.host import CiHost
from tasks.ci import images
from tasks.common.effect import effect

FOLDERS: Sequence[Path] = tuple(
    Path(folder) / "docker" / "cli-plugins"
    for folder in ("/usr/local/libexec", "/usr/local/lib", "/usr/libexec", "/usr/lib")
)
"""Docker's own, without those of a user: a builder is for root to install."""


@effect(name="choose builder", retries=1)
def choose_builder(host: CiHost) -> Chosen:
    """The one that this host's images are built with. The daemon is asked only where that may make a difference."""
    if host.buildkit or host.builder == "daemon":
        return choose(host.builder, host.buildkit, found=None, api="")
    found = next((path for folder in FOLDERS if os.access(path := folder / "docker-buildx", os.X_OK)), None)
    return choose(host.builder, None, found=found, api=_api(host.docker) if found else "")


def _api(url: str) -> str:
    with images.daemon(url) as client:
        return str(client.version().get("ApiVersion", ""))
