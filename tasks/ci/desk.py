"""A component's tests at a developer's desk: built and run as in CI, without scanning the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock.ci.junit import TestRun
from interlock.contract.models import BuildRules, Component
from interlock.errors import FormatError
from tasks.ci.build_log import Say
from tasks.ci.buildx import Via
from tasks.ci.images import Missing, build_image, build_test_image, daemon, read_recipe, remove_image
from tasks.ci.tests import run_tests
from tasks.common.effect import effect


@effect(name="build and test", task_run_name="build and test {name}")
def build_and_test(
    url: str,
    source: Path,
    component: Component,
    *,
    name: str,
    run: str,
    seconds: int,
    say: Say,
    rules: Sequence[BuildRules],
    via: Via | None = None,
) -> TestRun:
    """Build the component's image, run its tests in it, and remove its name again."""
    tag = f"interlock-check/{name}:{run}"
    image = build_image.fn(url, source, component, tag=tag, labels={}, seconds=seconds, say=say, rules=rules, via=via)
    try:
        if component.tests.target is None:
            return run_tests.fn(url, image.id, component.tests, run=run)
        own = f"{tag}-tests"
        built = build_test_image.fn(
            url, source, component, on=image.id, tag=own, run=run, seconds=seconds, say=say, rules=rules, via=via
        )
        try:
            return run_tests.fn(url, built.id, component.tests, run=run)
        finally:
            remove_image.fn(url, own)
    finally:
        remove_image.fn(url, tag)


def base_images(url: str, source: Path, component: Component, *, buildkit: bool = False) -> tuple[str, ...] | None:
    """The ids of the images that the Dockerfile builds on; None when one cannot be told or is not here."""
    try:
        names = [each.name for each in read_recipe(source, component, (BuildRules(),), buildkit=buildkit).of("image")]
    except FormatError:
        return None  # the build will say why
    with daemon(url) as client:
        try:
            return tuple(str(client.api.inspect_image(name)["Id"]) for name in names)  # type: ignore[no-untyped-call]
        except Missing:
            return None
