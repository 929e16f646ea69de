"""A team's CI releases its image into somebody else's application, component or environment.

Defence: trust/bindings.yaml says which component of which source repository goes where, under which image repository
and by whose key; it is read at the commit's parent, and a place has one source (interlock/contract/verification.py,
interlock/contract/repository.py).
Not defended: a binding that people gave by mistake.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.contract import layout, release, verification
from interlock.contract.models import ReleasedComponent, Source
from interlock.errors import InputError, Refused
from tasks.common import git
from tasks.common.environment_repository import verify
from tests.examples_of_repositories import ENVIRONMENT, environment_tree
from tests.git.conftest import Key, Server
from tests.git.verified import World, make_world

BANK = layout.release(ENVIRONMENT, "bank")
SHOP = layout.release(ENVIRONMENT, "shop")


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


@pytest.fixture
def thief(world: World) -> Key:
    return Key.make(world.state.parent / "ci-thief")


def entry(component: str) -> bytes:
    image = f"registry.example/thief/{component}@sha256:{'9' * 64}"
    source = Source(repository="thief", commit="9" * 40)
    released = ReleasedComponent(image=image, source=source, evidence="sha256:" + "8" * 64)
    return release.with_component(None, component, released).encode()


def admitted(world: World, thief: Key) -> str:
    """A second team's CI, which may write any release by its paths, and by a binding only its own application's."""
    tree = environment_tree(released=False, person_key=world.ada.public, machine_key=world.ci.public)
    signer = f'  - {{name: ci-thief, key: "{thief.public}", writes: ["environments/**"], machine: true}}\n'
    binding = (
        "  - {source: thief, component: web, application: thief, environments: [dev], "
        "image: registry.example/thief/web, signer: ci-thief}\n"
    )
    changes: dict[str, bytes | None] = {
        layout.SIGNERS: (tree.text(layout.SIGNERS) + signer).encode(),
        layout.BINDINGS: (tree.text(layout.BINDINGS) + binding).encode(),
    }
    return world.push(world.root, changes, by=world.ada)


def judged(world: World, since: str) -> int:
    mirror = git.mirror_path(world.state, "environments")
    return len(verify(mirror, world.remote.root, git.fetch(mirror, world.remote), since=since))


PLACED = pytest.mark.parametrize(
    ("place", "component"),
    [(BANK, "web"), (layout.release("production", "shop"), "web"), (SHOP, "worker")],
    ids=["another application", "another environment", "another component"],
)


@PLACED
def test_a_release_into_anothers_place_succeeds_by_paths_alone(
    world: World, thief: Key, monkeypatch: pytest.MonkeyPatch, place: str, component: str
) -> None:
    """Where a machine is held to its paths, and nobody asks what it is bound to."""
    since = admitted(world, thief)
    monkeypatch.setattr(verification, "_check_release", lambda *_: None)
    world.push(since, {place: entry(component)}, by=thief)

    assert judged(world, since) == 1


@PLACED
def test_a_release_into_anothers_place_is_refused(world: World, thief: Key, place: str, component: str) -> None:
    """Its own application it may release."""
    since = admitted(world, thief)
    own = world.push(since, {layout.release(ENVIRONMENT, "thief"): entry("web")}, by=thief)
    assert judged(world, since) == 1
    world.push(own, {place: entry(component)}, by=thief)

    with pytest.raises(Refused) as refused:
        judged(world, own)
    assert refused.value.rule == "release-scope"


def test_a_place_with_two_sources_is_refused(world: World, thief: Key) -> None:
    """A binding for a place that another source has is an error of the file, so nobody is bound there by accident."""
    since = admitted(world, thief)
    text = git.read_tree(world.repository.mirror, since).text(layout.BINDINGS)
    stolen = text.replace("application: thief", "application: shop")
    world.push(since, {layout.BINDINGS: stolen.encode()}, by=world.ada)

    with pytest.raises((Refused, InputError), match="bound twice"):
        judged(world, since)
