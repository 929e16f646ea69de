"""The name under which an image is found again: whatever a build reads that makes the same image has the same key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from interlock.contract.canonical import canonical, digest
from interlock.contract.evidence import Base
from interlock.contract.models import Component

RECIPE = 3
"""How an image is made from a component. Change it when that changes, so that old images are not found."""


@dataclass(frozen=True)
class Content:
    """A file or link that the builder gets: what it holds, and whether it may be run."""

    digest: str
    mode: str
    """`file`, `program`, `link` or `folder`."""


def inputs_digest(contents: Mapping[str, Content], dockerfile: str, bases: Iterable[Base]) -> str:
    """Of all that a build reads, wherever it comes from. Neither times nor the commit are of it."""
    read = {
        "context": {ascii(path): [each.mode, each.digest] for path, each in contents.items()},
        "dockerfile": digest(dockerfile.encode("utf-8", "surrogateescape")),
        "bases": [_said(each) for each in bases],
    }
    return digest(canonical(read))


def build_key(*, repository: str, component: str, recipe: Component, inputs: str) -> str:
    """A registry tag: `il-` and 32 hex digits. `inputs` is their digest."""
    made_of = {
        "recipe": RECIPE,
        "repository": repository,
        "component": component,
        "build": recipe.model_dump(mode="json", exclude={"tests", "environments"}),
        "inputs": inputs,
    }
    return "il-" + digest(canonical(made_of)).removeprefix("sha256:")[:32]


def key_of_tests(recipe: Component) -> str:
    """Of how an image is tested: what was found by other tests does not count."""
    return digest(canonical(recipe.tests.model_dump(mode="json")))


REVISION = "org.opencontainers.image.revision"
"""The label that names the commit that an image was built from."""


def labels(*, repository: str, commit: str, component: str) -> dict[str, str]:
    """What an image says about its own source."""
    return {
        "org.opencontainers.image.source": repository,
        REVISION: commit,
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
