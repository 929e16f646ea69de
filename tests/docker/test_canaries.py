"""A build secret and a forge's token, planted in a whole release: a search through all that it leaves behind."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

from flows.ci.release import release_order
from interlock.ci.host import BuildKit as Settings
from sandbox.parts.buildkit import BuildKit
from tasks.ci.images import daemon, push_image
from tests.canaries import Canaries, found_in_git, standing_in, watched_processes
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.forges.conftest import serving
from tests.forges.server import TOKEN, Fault

USES = "RUN --mount=type=secret,id=npm cat /run/secrets/npm; base64 /run/secrets/npm; echo used it\nWORKDIR"


async def test_neither_is_left_anywhere(walk: Walk, buildkit_daemon: BuildKit, tmp_path: Path) -> None:
    """Though a step prints the one, and the forge refuses the other once: no log, state, image, commit, argument."""
    secret = tmp_path / "npm"
    secret.write_text(f"canary-build-{os.urandom(8).hex()}\n")
    wanted = {"the build secret": secret.read_text().strip(), "the forge's token": TOKEN}
    _build_from_registry(walk, buildkit_daemon, secret)
    recorder = Recorder()

    with serving("github") as forge, watched_processes(wanted) as seen:
        forge.faults = [Fault(401, message=f"Bad credentials: {TOKEN}", only="POST")]
        walk.host.forges["shop"] = forge.account(tmp_path / "forge.token")
        await release_order(recorder, walk.host, "shop", None)

    told = "\n".join((*recorder.said, *recorder.links, *map(repr, recorder.reports)))
    assert forge.statuses, "the token was used"
    assert "used it" in told, "the step ran"
    assert [*standing_in(told.encode(), wanted)] == []
    assert sorted(seen) == []
    assert _found_in_files(walk.host.state, wanted) == []
    assert found_in_git([walk.environments.bare, walk.application.bare], wanted) == []
    with daemon(walk.host.docker) as client:
        for image in client.images.list(name=walk.image):
            content = b"".join(client.api.get_image(str(image.id)))
            assert [*standing_in(content + repr(image.attrs).encode(), wanted)] == []


def _build_from_registry(walk: Walk, buildkit: BuildKit, secret: Path) -> None:
    name = f"{walk.image}-base"
    with daemon(walk.host.docker) as client:
        base = str(client.images.get("interlock.sandbox/python:3.11").id)
    push_image.fn(walk.host.docker, base, repository=name, tag="3", auth=walk.host.registry.auth)
    dockerfile = service.DOCKERFILE.replace("interlock.sandbox/python:3.11", f"{name}:3")
    assert "WORKDIR" in dockerfile
    walk.application.push({"Dockerfile": dockerfile.replace("WORKDIR", USES, 1).encode()})
    given = {
        "buildkit": Settings(buildx=buildkit.buildx, address=buildkit.address),
        "build_secrets": {"shop": {"npm": secret}},
        "forges": {},
    }
    walk.host = walk.host.model_copy(update=given)


def _found_in_files(folder: Path, wanted: Canaries) -> list[str]:
    return [f"{name} in {file}" for file in _files(folder) for name in standing_in(_content(file), wanted)]


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (each for name in names if (each := Path(path, name)).is_file() and not each.is_symlink())


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if file.suffix == ".gz" else content


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """In a compressed log too: the search above is no formality."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log.gz").write_bytes(gzip.compress(b"token=canary-planted\n"))

    assert len(_found_in_files(tmp_path, {"a planted one": "canary-planted"})) == 1
