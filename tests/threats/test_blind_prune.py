"""A commit that renders nothing, or drops a Namespace, deletes everything: databases, volumes, other people's objects.

Defence: only what is in the inventory by UID, carries our label and is owned by our manager is ever pruned; an
application that renders no object keeps what it had; budgets stop large deletions; Namespaces, definitions and volume
claims go only by a signed confirmation of the one object (interlock/cd/prune.py, interlock/cd/guards.py,
interlock/cd/budget.py).
Not defended: signers who confirm. What a deleted object's own controller deletes with it, beyond what is counted.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from interlock.cd import guards, prune
from interlock.cd.objects import PART_OF, label
from interlock.errors import Blocked, InterlockError
from tests.cluster.worlds import World, config_map

MAIL = {
    "applications/mail/application.yaml": "format: 1\ntemplate: mail\n",
    "environments/dev/mail/values.yaml": "enabled: true\n",
    "templates/mail/c.yaml.j2": (
        "{% if values.enabled %}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mail\n{% endif %}\n"
    ),
}
SILENT = {"environments/dev/mail/values.yaml": "enabled: false\n"}


def is_there(world: World, name: str = "mail") -> bool:
    return world.get("ConfigMap", name) is not None


async def test_an_empty_render_succeeds_with_a_prune_by_label(world: World) -> None:
    """As `kubectl apply --prune --selector` does it: what carries the label and is not in the (empty) render goes."""
    world.push(MAIL)
    await world.deploy()
    for each in world.admin.list(world.admin.resource("v1", "ConfigMap"), world.namespace):
        if label(each, PART_OF):
            world.delete(world.path("configmaps", each["metadata"]["name"]))

    assert not is_there(world) and not is_there(world, "base")


async def test_an_empty_render_succeeds_without_the_guard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A values file that switches an application off by accident takes its objects along."""
    world.push(MAIL)
    await world.deploy()
    monkeypatch.setattr(prune, "_guarded", lambda *_: "")
    world.push(SILENT)
    await world.deploy()

    assert not is_there(world)


async def test_an_empty_render_prunes_nothing(world: World) -> None:
    """The objects stay, and the plan says what would let them go."""
    world.push(MAIL)
    await world.deploy()
    world.push(SILENT)
    await world.deploy()

    assert is_there(world)
    assert any("renders no object" in item.reason for item in (await world.plan()).kept)


async def test_a_namespace_succeeds_in_taking_everything_along(world: World) -> None:
    """One DELETE, and the server deletes all that is in it, whosoever it is."""
    await world.deploy()
    world.delete(f"/api/v1/namespaces/{world.namespace}")

    live = world.get("Namespace", world.namespace)
    assert live is None or "deletionTimestamp" in live["metadata"]


async def test_a_namespace_that_git_drops_stays(world: World) -> None:
    """Nobody confirmed the deletion of this one: it and all in it stay."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}
    world.push_objects("namespace", body)
    await world.deploy()
    world.remove("namespace")
    await world.deploy()

    live = world.get("Namespace", world.namespace)
    assert live is not None and "deletionTimestamp" not in live["metadata"]
    assert guards.NAMESPACE in guards.PROTECTED
    assert is_there(world, "base")


async def test_a_mass_deletion_is_refused(world: World) -> None:
    """More than the budget: nothing is deleted, whatever else the commit does."""
    world.push_objects("many", *(config_map(f"c{number}", {"a": "1"}) for number in range(12)))
    await world.deploy()
    world.remove("many")

    with pytest.raises(Blocked):
        await world.deploy()
    assert all(is_there(world, f"c{number}") for number in range(12))


async def test_another_environments_object_is_not_pruned(world: World) -> None:
    """A stranger who gives an object our label and our manager's name does not get it deleted by us."""
    await world.deploy()
    live = world.get("ConfigMap", "base")
    assert live is not None
    labels = {PART_OF: label(live, PART_OF)}
    body = config_map("theirs", {"a": "1"})
    body["metadata"] |= {"namespace": world.namespace, "labels": labels}
    world.admin.apply(body, manager=world.manager)

    with suppress(InterlockError):
        await world.resync()
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()

    assert is_there(world, "theirs")
