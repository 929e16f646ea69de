"""The release order from end to end on real git, Docker, registry and Trivy."""

from __future__ import annotations

from flows.ci.release import release_order
from interlock.contract import layout, repository
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder


async def test_a_commit_becomes_an_image_and_one_signed_release_commit(walk: Walk) -> None:
    """The environment repository names the image, its source and its evidence; verification accepts the commit."""
    recorder = Recorder()

    outcome = await release_order(recorder, walk.host, "shop", None)

    print({name: round(seconds, 2) for name, seconds in recorder.seconds.items()})
    found = repository.read(walk.environments.read())
    released = found.environments["dev"].applications["shop"].release
    assert released is not None
    entry = released.components["web"]
    assert entry.image.startswith(f"{walk.image}@sha256:")
    assert entry.source.commit == walk.application.head
    assert outcome.components[0].image == entry.image
    assert walk.environments.count() == 2
    assert layout.evidence("dev", "shop", "web", entry.image.partition("@")[2]) in found.tree.files
