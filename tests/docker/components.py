"""An application repository with three components, each in a folder of its own, and the bindings that release them."""

from __future__ import annotations

from interlock.contract import layout, repository
from interlock.contract.models import ReleasedComponent
from tests import examples_of_repositories as example
from tests.docker import service
from tests.docker.conftest import Walk

NAMES = ("api", "job", "web")


def files(changes: dict[str, str | None] | None = None) -> dict[str, bytes | None]:
    """Each folder holds the tiny service; `changes` replaces or removes files by their whole path."""
    described = "".join(
        f"  {name}:\n    context: {name}\n    dockerfile: {name}/Dockerfile\n"
        "    tests:\n      command: [python, -m, tests.run]\n      timeout_seconds: 60\n"
        for name in NAMES
    )
    own = {path: text for path, text in service.files().items() if path != "interlock.yaml"}
    found = {f"{name}/{path}": text for name in NAMES for path, text in own.items()}
    changed = {path: None if text is None else text.encode() for path, text in (changes or {}).items()}
    return {"interlock.yaml": f"format: 1\ncomponents:\n{described}".encode(), **found, **changed}


def bind(walk: Walk) -> None:
    """All three to the environment `dev`."""
    head = repository.read(walk.environments.read())
    (binding,) = head.tree.text(layout.BINDINGS).partition("bindings:\n")[2:]
    entries = "".join(
        binding.replace(f"component: {example.COMPONENT}\n", f"component: {name}\n").replace(
            f"image: {walk.image}\n", f"image: {image(walk, name)}\n"
        )
        for name in NAMES
    )
    values = head.tree.text(layout.shared_values(example.APPLICATION)) + f"component: {example.COMPONENT}\n"
    changes = {
        layout.BINDINGS: f"format: 1\nbindings:\n{entries}",
        layout.shared_values(example.APPLICATION): values,
    }
    walk.environments.push({path: text.encode() for path, text in changes.items()})
    walk.application.push({**dict.fromkeys(service.files()), **files()})


def image(walk: Walk, name: str) -> str:
    return f"{walk.image.rpartition('/')[0]}/{name}"


def released(walk: Walk) -> dict[str, ReleasedComponent]:
    """What stands in `dev`, read as CD reads it."""
    found = repository.read(walk.environments.read()).environments["dev"].applications["shop"].release
    return dict(found.components) if found else {}
