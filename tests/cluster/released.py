"""Releases with evidence in a world: by a machine that has CI's key for commits, and a signer's key that it has not."""

from __future__ import annotations

import datetime as dt

import yaml

from interlock.contract import dsse, layout, strict_yaml
from interlock.contract.evidence import Statement
from tasks.common import git
from tests import examples_of_evidence as proof
from tests import examples_of_repositories as example
from tests.cluster.worlds import World, deployment, manifest_path
from tests.examples_of_evidence import KEY, file_of

BINDINGS = strict_yaml.dump(
    {
        "format": 1,
        "bindings": [
            {
                "source": "shop",
                "component": "web",
                "application": "shop",
                "environments": ["dev"],
                "image": example.IMAGE_REPOSITORY,
                "signer": "ci-shop",
            }
        ],
    }
)
OTHER_IMAGE = f"{example.IMAGE_REPOSITORY}@sha256:{'2b' * 32}"
POSTGRES = f"docker.io/library/postgres@sha256:{'7' * 64}"


def said(image: str = example.IMAGE, **more: object) -> dict[str, Statement]:
    """What CI says of it now."""
    return proof.said(**{"now": dt.datetime.now(dt.UTC), "image": image, **more})  # type: ignore[arg-type]


def released(image: str = example.IMAGE, *, key: dsse.Key | None = KEY, **more: object) -> dict[str, str]:
    data = file_of(said(image, **more), key)
    files = {path: text.decode() for path, text in proof.release_of(data, image=image).items()}
    return {**files, manifest_path("web"): yaml.safe_dump(deployment(image=image))}


def bound(world: World) -> dict[str, str]:
    """A machine `ci-shop` signs releases of the component."""
    people = yaml.safe_load(world.repository_text(layout.SIGNERS))
    machine = {
        "name": "ci-shop",
        "key": world.ci.public,
        "writes": ["environments/dev/shop/release.yaml", "environments/dev/shop/evidence/*"],
        "machine": True,
    }
    signers = [each for each in people["signers"] if each["name"] != "ci-shop"]
    return {
        layout.BINDINGS: BINDINGS,
        layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": [*signers, machine]}),
    }


def asking(world: World, *keys: dsse.Key) -> dict[str, str]:
    """The same, and evidence is asked for."""
    return {**bound(world), layout.ATTESTERS: proof.attesters(*keys or (KEY,), branch="main")}


def push_by_ci(world: World, files: dict[str, str]) -> str:
    """What somebody pushes who has CI's key for release commits."""
    encoded: dict[str, bytes | None] = {path: text.encode() for path, text in files.items()}
    repository = world.repository
    commit = repository.write(world.head, encoded, message="Release web", by=world.ci)
    git.push(repository.mirror, commit, repository.remote, expected=world.head)
    world.head = commit
    return commit


def release_only(files: dict[str, str]) -> dict[str, str]:
    """Of a release's files those that CI writes."""
    return {path: text for path, text in files.items() if layout.is_machines(path)}
