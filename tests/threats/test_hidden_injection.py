"""A container is put into our Deployment, and whoever did it strips or forges the server's word of who wrote what.

Defence: what lives is compared with what Git renders, field by field and item by item, whatever managedFields claim;
what nobody declared is foreign, and removed where drift is undone (interlock/cd/compare.py, interlock/cd/foreign.py).
Not defended: who did it is then not known. With `drift: observe` it is reported and stays until somebody decides.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from interlock.cd.objects import Body
from interlock.errors import Conflict
from tests.cluster.worlds import Recorder, World, deployment

EVIL = {"name": "miner", "image": "registry.example/miner@sha256:" + "66" * 32}


def inject(world: World, manager: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [EVIL]}}}}
    world.merge(world.path("deployments", "web", "apps/v1"), body, manager=manager)


def rewritten(world: World, change: Callable[[Body], None]) -> None:
    """The object as somebody wants it, while its controller writes to it too."""
    for _ in range(50):
        live = live_of(world)
        change(live)
        with suppress(Conflict):
            world.admin.replace(live, manager=world.manager)
            return
    raise AssertionError("it is written to all the time")


def without_mallory(live: Body) -> None:
    live["metadata"]["managedFields"] = [e for e in live["metadata"]["managedFields"] if e["manager"] != "mallory"]


def strip(world: World) -> None:
    """Inject, and remove the claim on what was injected."""
    inject(world, "mallory")
    rewritten(world, without_mallory)


def strip_all(world: World) -> None:
    """Inject, and remove every claim, ours too."""
    inject(world, "mallory")
    path = world.path("deployments", "web", "apps/v1")
    body = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    world.admin._exchange("PATCH", path, query={}, body=body, content="application/json-patch+json", subject=path)


def under_our_name(world: World) -> None:
    """Inject as a manager of our name, by another operation."""
    inject(world, world.manager)


def claim_for_us(world: World) -> None:
    """Inject, and write into our own claim that the container is ours."""

    def claimed(live: Body) -> None:
        without_mallory(live)
        for entry in live["metadata"]["managedFields"]:
            if entry["manager"] == world.manager and entry["operation"] == "Apply":
                template = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
                template['k:{"name":"miner"}'] = {".": {}, "f:name": {}, "f:image": {}}

    inject(world, "mallory")
    rewritten(world, claimed)


def live_of(world: World) -> Body:
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    return live


def names(world: World) -> list[str]:
    return sorted(each["name"] for each in live_of(world)["spec"]["template"]["spec"]["containers"])


HIDING: dict[str, Callable[[World], None]] = {"stripped": strip, "under our name": under_our_name}


def applied(world: World, *, dry_run: bool = False) -> Any:
    """What `kubectl apply --server-side` and `kubectl diff --server-side` send, as our manager."""
    metadata = {"name": "web", "namespace": world.namespace}
    return world.admin.apply({**deployment(), "metadata": metadata}, manager=world.manager, dry_run=dry_run)


@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING)
async def test_a_hidden_container_succeeds_with_a_plain_apply(world: World, hide: Callable[[World], None]) -> None:
    """A dry run shows no difference, and applying the manifest again leaves the container."""
    world.push_objects("web", deployment())
    await world.deploy()
    hide(world)

    assert applied(world, dry_run=True).body["spec"] == live_of(world)["spec"]
    applied(world)
    assert names(world) == ["miner", "web"]


@pytest.mark.parametrize("hide", [*HIDING.values(), strip_all, claim_for_us], ids=[*HIDING, "all stripped", "claimed"])
async def test_a_hidden_container_is_removed(world: World, hide: Callable[[World], None]) -> None:
    """It is told of, and the next resync takes it away."""
    world.push_objects("web", deployment())
    await world.deploy()
    hide(world)
    assert names(world) == ["miner", "web"]
    presenter = Recorder()

    assert (await world.resync(presenter)).said == "drift undone"

    assert names(world) == ["web"]
    rows = [row[1] for table in presenter.report("drift").tables for row in table.rows]
    assert any("miner" in row for row in rows)
