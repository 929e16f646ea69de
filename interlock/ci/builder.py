"""Which builder makes a host's images, and how that is told: on the run's page, in the image, in its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock.ci.host import BuildKit
from interlock.errors import HostConfigError

Builder = Literal["classic", "docker-buildkit", "buildkitd"]
Setting = Literal["auto", "buildx", "daemon"]
_LABEL = "dev.interlock.builder"
_FIRST_WITH_BUILDKIT = (1, 39)
"""The API of Docker 18.09."""


@dataclass(frozen=True)
class Chosen:
    """The builder of a run; without `buildkit` the Docker daemon's classic one. `said` is for people."""

    buildkit: BuildKit | None
    said: str


def choose(setting: Setting, given: BuildKit | None, *, found: Path | None, api: str) -> Chosen:
    """By what the host's file says; else by the program that was `found`, and the version of the daemon's `api`.

    HostConfigError when the file asks for BuildKit and there is none.
    """
    if given:
        return Chosen(given, f"images are built with {_BY[built_with(given)]}, as ci.yaml says")
    if setting == "daemon":
        return Chosen(None, f"images are built with {_BY['classic']}, as ci.yaml says")
    if found and _has_buildkit(api):
        return Chosen(BuildKit(buildx=found), f"images are built with {_BY['docker-buildkit']}, asked by {found}")
    missing = f"the daemon's API {api} has no BuildKit" if found else "docker-buildx is not installed"
    if setting == "buildx":
        raise HostConfigError(
            f"ci.yaml says `builder: buildx`, and {missing}",
            hint="install docker's plug-in for all users, name the program in `buildkit`, or say `builder: daemon`",
        )
    return Chosen(None, f"images are built with {_BY['classic']}: {missing}")


def _has_buildkit(api: str) -> bool:
    try:
        return tuple(int(part) for part in api.split(".")) >= _FIRST_WITH_BUILDKIT
    except ValueError:
        return False


def built_with(buildkit: BuildKit | None) -> Builder:
    if buildkit is None:
        return "classic"
    return "buildkitd" if buildkit.address else "docker-buildkit"


_BY: Mapping[Builder, str] = {
    "classic": "the Docker daemon's classic builder",
    "docker-buildkit": "the Docker daemon's BuildKit",
    "buildkitd": "a buildkitd",
}


def builder_label(builder: Builder) -> dict[str, str]:
    """What made the image, as it says itself: a later run that finds it has no other way to know."""
    return {_LABEL: builder}


def builder_of(labels: Mapping[str, str]) -> str:
    """What an image says that made it; empty for one that does not say so."""
    said = labels.get(_LABEL, "")
    return said if said in _BY else ""
