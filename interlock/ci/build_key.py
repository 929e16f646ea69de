"""The name under which one build is found again: same source, component and recipe, same key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal

from interlock.contract.canonical import canonical, digest
from interlock.contract.evidence import Base
from interlock.contract.models import Component

RECIPE = 2
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
        "target": recipe.target,
        "arguments": recipe.arguments,
    }
    return "il-" + digest(canonical(made_of)).removeprefix("sha256:")[:32]


def labels(*, repository: str, commit: str, component: str) -> dict[str, str]:
    """What an image says about its own source."""
    return {
        "org.opencontainers.image.source": repository,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.title": component,
    }


_BASES = "dev.interlock.bases"


def bases_label(bases: Iterable[Base]) -> dict[str, str]:
    """What the image stands on, as it says itself: a later run that finds it has no other way to know."""
    return {_BASES: canonical([_said(each) for each in bases]).decode()}


def _said(base: Base) -> dict[str, str]:
    kind = {} if base.kind == "image" else {"kind": base.kind}
    return {"name": base.name, "id": base.id, "digest": base.digest, **kind}


def bases_of(labels: Mapping[str, str]) -> tuple[Base, ...]:
    """What an image says that it stands on; nothing when it does not say so in our form."""
    try:
        read = json.loads(labels.get(_BASES, "[]"))
        return tuple(
            Base(str(each["name"]), str(each["id"]), str(each["digest"]), _kind(each.get("kind"))) for each in read
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _kind(said: object) -> Literal["image", "frontend", "address"]:
    match said:
        case "frontend" | "address":
            return said
    return "image"
