"""A commit or an image turns out to be bad after everything has passed it, and git cannot be changed fast enough.

Defence: the deny list of CD's host names commits, digests and keys; it is read before each deploy and needs neither
git nor a forge (interlock/cd/deny.py, flows/cd/holding.py).
Not defended: pods that run already go on until a commit without what is denied is deployed, or somebody stops them.
"""

from __future__ import annotations

import pytest

from interlock.cli.main import main
from interlock.errors import Refused
from tests.cluster.worlds import IMAGE, World, config_map, deployment, service

DIGEST = IMAGE.partition("@")[2]


def deny(world: World, what: str) -> None:
    assert main(["deny", "add", what, "--reason", "it is evil", "--config", str(world.config)]) == 0


async def test_a_bad_commit_with_a_bad_image_succeeds_without_the_list(world: World) -> None:
    """They are signed and well-formed, so they are deployed."""
    world.push_objects("evil", config_map("evil", {"a": "1"}), deployment(), service())

    await world.deploy()

    assert world.get("ConfigMap", "evil") and world.get("Deployment", "web", "apps/v1")


async def test_a_denied_commit_is_not_deployed(world: World) -> None:
    """Nor what follows it, and the cluster stays where it was."""
    await world.deploy()
    deny(world, world.push_objects("evil", config_map("evil", {"a": "1"})))
    world.push_objects("other", config_map("other", {"a": "1"}))

    with pytest.raises(Refused, match="it is evil"):
        await world.deploy()
    assert world.get("ConfigMap", "evil") is None and world.get("ConfigMap", "other") is None


async def test_a_denied_digest_is_not_deployed(world: World) -> None:
    """Also when it was deployed before, and somebody deletes its Deployment in order to stop it."""
    world.push_objects("web", deployment(), service())
    await world.deploy()
    deny(world, DIGEST)
    world.delete(world.path("deployments", "web", "apps/v1"))

    with pytest.raises(Refused, match=f"digest {DIGEST} is denied"):
        await world.resync()
    assert world.get("Deployment", "web", "apps/v1") is None
