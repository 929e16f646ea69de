"""An image that nobody scanned runs beside the ones that were: as an init or ephemeral container, or as a volume.

Defence: CD looks for images wherever a pod is described, and at the places that policy/images.yaml names for further
kinds, in volumes' drivers and the annotations of well-known injectors, in the rendered objects and not in what a
release says (interlock/cd/running.py). Each needs evidence, or a pin of its digest by a person
(interlock/cd/proofs.py).
Not defended: an image that a controller, a webhook or an operator puts into pods by itself, and a kind or annotation
that names an image at a place that nobody configured.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from interlock.cd import running
from interlock.contract import layout, strict_yaml
from interlock.errors import Refused
from tests.cluster.released import POSTGRES, asking, released
from tests.cluster.worlds import World, deployment, manifest_path
from tests.examples_of_repositories import IMAGE
from tests.threats.manifests import dumped

MINER = POSTGRES
CUSTOM = {"apiVersion": "db.example/v1", "kind": "Cluster", "metadata": {"name": "db"}, "spec": {"imageName": MINER}}


def smuggled(where: str) -> str:
    """The released Deployment with one more image."""
    body = deployment()
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    container = {**deepcopy(spec["containers"][0]), "name": "side", "image": MINER}
    del container["readinessProbe"]
    spec[where] = [{"name": "side", "image": {"reference": MINER}}] if where == "volumes" else [container]
    return dumped(body)


def only_containers(*arguments: Any) -> tuple[running.Used, ...]:
    """What a check sees that asks of containers alone."""
    return tuple(each for each in EVERY(*arguments) if ".containers[" in each.place)


EVERY = running.used


@pytest.mark.parametrize("where", ["initContainers", "volumes"])
async def test_a_side_image_succeeds_where_only_containers_are_looked_at(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence of the released image lets the whole pod in."""
    monkeypatch.setattr("tasks.cd.proofs.used", only_containers)
    world.push({**asking(world), **released(), manifest_path("web"): smuggled(where)})

    await world.deploy()

    assert MINER in str(world.get("Deployment", "web", "apps/v1"))


@pytest.mark.parametrize("where", ["initContainers", "ephemeralContainers", "volumes"])
async def test_a_side_image_is_refused_wherever_it_stands(world: World, where: str) -> None:
    """With its place; and the released image is not what is complained about."""
    world.push({**asking(world), **released(), manifest_path("web"): smuggled(where)})

    with pytest.raises(Refused, match=rf"{where}\[0\]\.image") as caught:
        await world.deploy()

    assert IMAGE not in caught.value.message
    assert world.get("Deployment", "web", "apps/v1") is None


async def test_an_image_of_a_custom_kind_is_refused_at_the_place_that_policy_names(world: World) -> None:
    """An operator would run it."""
    places = {"format": 1, "places": [{"kind": "Cluster.db.example", "path": "spec.imageName"}]}
    world.push({**asking(world), **released(), manifest_path("db"): dumped(CUSTOM)})
    world.push({layout.IMAGES: strict_yaml.dump(places)})

    with pytest.raises(Refused, match=r"Cluster/.*/db, spec\.imageName"):
        await world.deploy()
