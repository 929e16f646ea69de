"""The name under which one build is found again: same source, component and recipe, same key."""

from __future__ import annotations

from interlock.contract.canonical import canonical, digest
from interlock.contract.models import Component

RECIPE = 1
"""How an image is made from a component. Change it when that changes, so that old images are not found."""


def build_key(*, repository: str, commit: str, component: str, recipe: Component) -> str:
    """A registry tag: `il-` and 32 hex digits."""
    made_of = {
        "recipe": RECIPE,
        "repository": repository,
        "commit": commit,
        "component": component,
        "context": recipe.context,
        "dockerfile": recipe.dockerfile,
    }
    return "il-" + digest(canonical(made_of)).removeprefix("sha256:")[:32]


def labels(*, repository: str, commit: str, component: str) -> dict[str, str]:
    """What an image says about its own source."""
    return {
        "org.opencontainers.image.source": repository,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.title": component,
    }
