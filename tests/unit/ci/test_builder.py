"""Which builder makes images: BuildKit where docker buildx is, unless the host's file says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.ci.builder import Setting, builder_label, builder_of, built_with, choose
from interlock.ci.host import BuildKit
from interlock.errors import HostConfigError

PLUGIN = Path("/usr/libexec/docker/cli-plugins/docker-buildx")
OWN = BuildKit(buildx=PLUGIN)
BUILDKITD = BuildKit(buildx=PLUGIN, address="unix:///run/buildkit/buildkitd.sock")
CLASSIC = "images are built with the Docker daemon's classic builder"


@pytest.mark.parametrize(
    ("setting", "given", "found", "api", "said"),
    [
        ("auto", None, PLUGIN, "1.41", f"images are built with the Docker daemon's BuildKit, asked by {PLUGIN}"),
        ("buildx", None, PLUGIN, "1.41", f"images are built with the Docker daemon's BuildKit, asked by {PLUGIN}"),
        ("auto", None, None, "", f"{CLASSIC}: docker-buildx is not installed"),
        ("auto", None, PLUGIN, "1.38", f"{CLASSIC}: the daemon's API 1.38 has no BuildKit"),
        ("auto", None, PLUGIN, "new", f"{CLASSIC}: the daemon's API new has no BuildKit"),
        ("daemon", None, PLUGIN, "1.41", f"{CLASSIC}, as ci.yaml says"),
        ("auto", OWN, None, "", "images are built with the Docker daemon's BuildKit, as ci.yaml says"),
        ("buildx", BUILDKITD, None, "", "images are built with a buildkitd, as ci.yaml says"),
    ],
)
def test_the_builder_is_found(
    setting: Setting, given: BuildKit | None, found: Path | None, api: str, said: str
) -> None:
    """And people are told which it is, and why."""
    chosen = choose(setting, given, found=found, api=api)

    assert chosen.said == said
    assert (chosen.buildkit is None) == ("classic" in said)


@pytest.mark.parametrize(("found", "api"), [(None, ""), (PLUGIN, "1.30")])
def test_a_builder_that_must_be_there_is(found: Path | None, api: str) -> None:
    """Another would make other images."""
    with pytest.raises(HostConfigError, match="says `builder: buildx`"):
        choose("buildx", None, found=found, api=api)


def test_an_image_says_what_made_it() -> None:
    """In our words, or it says nothing."""
    assert [builder_of(builder_label(built_with(each))) for each in (None, OWN, BUILDKITD)] == [
        "classic",
        "docker-buildkit",
        "buildkitd",
    ]
    assert builder_of({"dev.interlock.builder": "evil"}) == builder_of({}) == ""
