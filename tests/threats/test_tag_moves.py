"""A tag that was looked at today names another image tomorrow.

Number: 15
Defence: nothing is rendered that names an image without its digest, in whatever container or volume it stands
(interlock/contract/manifest.py); a release has digests alone (interlock/contract/models.py), and evidence is about one.
Not defended: an image field of a custom kind at a place that policy/images.yaml does not name.
"""

from __future__ import annotations

import pytest

from interlock.contract import repository
from interlock.errors import FormatError, RenderError
from tests.cluster.worlds import World, deployment, manifest_path
from tests.examples_of_repositories import environment_tree, release_files
from tests.threats.manifests import dumped

TAGGED = "registry.example/shop/web:stable"


def test_a_tag_succeeds_where_manifests_are_applied_as_they_are(world: World) -> None:
    """The API server takes it: what runs is what the registry says at that moment."""
    body = deployment(image=TAGGED)

    world.admin.apply({**body, "metadata": {**body["metadata"], "namespace": world.namespace}}, manager="plain")

    assert TAGGED in str(world.get("Deployment", "web", "apps/v1"))


@pytest.mark.parametrize("image", [TAGGED, "registry.example/shop/web", "nginx", f"{TAGGED}@sha256:1a1a"])
async def test_a_tag_is_refused_before_anything_is_planned(world: World, image: str) -> None:
    """By rendering, with file and line."""
    world.push({manifest_path("web"): dumped(deployment(image=image))})

    with pytest.raises(RenderError, match="is not given by its digest"):
        await world.deploy()


def test_a_release_with_a_tag_is_refused() -> None:
    """Whoever writes it."""
    files = {path: data.replace(b"@sha256", b":sha256") if data else None for path, data in release_files().items()}

    with pytest.raises(FormatError, match="tags are not allowed"):
        repository.read(environment_tree({path: files[path] for path in files if path.endswith("release.yaml")}))
