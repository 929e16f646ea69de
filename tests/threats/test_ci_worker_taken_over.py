"""Somebody who took over CI's worker writes releases of images that he built himself.

Number: 1, 3
Defence: CI's key for commits is not the key that evidence is signed with: the signer has that, as another user that
looks for itself. CD asks for the signer's word about every image before it writes anything (interlock/cd/chain.py,
flows/cd/evidence.py), by keys that people declared in trust/attesters.yaml.
Not defended: a repository that declares no attester, or lets a source go unsigned: there the release commit's signature
stands alone, and CI's key deploys what it likes. What the scanner found is CI's word also where a signer signs: a
worker that was taken over can leave findings out.
"""

from __future__ import annotations

import pytest

from interlock.errors import Refused
from tests.cluster.released import OTHER_IMAGE, asking, bound, push_by_ci, release_only, released
from tests.cluster.worlds import World, deployment, manifest_path
from tests.examples_of_evidence import OTHER_KEY
from tests.threats.manifests import dumped

BACKDOOR = OTHER_IMAGE


def attack(world: World, key: object) -> None:
    """A release by CI's key, with evidence that the attacker made; templates would take the image from it."""
    push_by_ci(world, release_only(released(BACKDOOR, key=key)))  # type: ignore[arg-type]
    world.push({manifest_path("web"): dumped(deployment(image=BACKDOOR))})


async def test_a_backdoor_succeeds_where_nobody_asks_for_evidence(world: World) -> None:
    """The commit is CI's, the digest of the evidence fits: it is deployed."""
    world.push(bound(world))
    attack(world, None)

    await world.deploy()

    found = world.get("Deployment", "web", "apps/v1")
    assert found is not None
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == BACKDOOR


@pytest.mark.parametrize("key", [None, OTHER_KEY], ids=["unsigned", "by a key of his own"])
async def test_a_backdoor_is_refused_without_the_signers_word(world: World, key: object) -> None:
    """Nothing of it reaches the cluster."""
    world.push(asking(world))
    attack(world, key)

    with pytest.raises(Refused, match="signature") as caught:
        await world.deploy()

    assert caught.value.rule == "evidence"
    assert world.get("Deployment", "web", "apps/v1") is None
