"""Releases of images that somebody else's pipeline built, on real git, Docker, registry and Trivy."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from typer.testing import CliRunner

from flows.ci.release import ReleaseOutcome, release_order
from flows.ci.reuse import Given
from interlock.ci.build_key import labels
from interlock.cli.commands import build
from interlock.contract import evidence, repository
from interlock.contract.models import ReleasedComponent
from interlock.errors import Blocked, InputError, Refused, Superseded
from sandbox.parts.baseimage import BaseImage
from tasks.ci.images import daemon
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder


def build_elsewhere(walk: Walk, said: dict[str, str] | None = None) -> str:
    """Build the service as another pipeline would, push it, and give it by digest."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, content in service.files().items():
            member = tarfile.TarInfo(path)
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    user, _, password = (walk.host.registry.auth or pytest.fail("no account")).read_text().strip().partition(":")
    name = f"{walk.image}:elsewhere"
    with daemon(walk.host.docker) as client:
        client.images.build(
            fileobj=io.BytesIO(context.getvalue()), custom_context=True, tag=name, labels=said or said_of(walk)
        )
        account = {"username": user, "password": password}
        lines = client.images.push(walk.image, tag="elsewhere", auth_config=account, stream=True, decode=True)
        pushed = [line["aux"]["Digest"] for line in lines if "aux" in line]
    return f"{walk.image}@{pushed[0]}"


def said_of(walk: Walk, commit: str | None = None) -> dict[str, str]:
    return labels(repository="shop", commit=commit or walk.application.head or "", component="web")


async def release(walk: Walk, image: str, component: str = "web") -> ReleaseOutcome:
    return await release_order(Recorder(), walk.host, "shop", None, given=Given(component, image))


def released(walk: Walk) -> dict[str, ReleasedComponent]:
    found = repository.read(walk.environments.read()).environments["dev"].applications["shop"].release
    return dict(found.components) if found else {}


async def test_an_image_built_elsewhere_is_judged_and_released(walk: Walk) -> None:
    """It is scanned and tested as ours are, nothing is built or pushed, and its evidence says where it is from."""
    image, recorder = build_elsewhere(walk), Recorder()

    await release_order(recorder, walk.host, "shop", None, given=Given("web", image))

    assert released(walk)["web"].image == image
    assert {"scan image", "run tests", "scan folder"} <= {*recorder.steps}
    assert not {"build image", "push image"} & {*recorder.steps}
    tree = walk.environments.read()
    (path,) = (each for each in tree.files if "/evidence/" in each)
    (provenance,) = evidence.read_envelope(tree.files[path], path=path).predicates(evidence.PROVENANCE)
    assert provenance["buildDefinition"]["internalParameters"]["given"] is True


async def test_it_is_released_once(walk: Walk) -> None:
    """A second run of the same step finds it released, and writes nothing."""
    image = build_elsewhere(walk)
    await release(walk, image)
    count = walk.environments.count()

    again = await release(walk, image)

    assert walk.environments.count() == count
    assert again.written == ()


async def test_the_gate_judges_it(walk: Walk) -> None:
    """A test that fails inside the image keeps it out, whoever built it."""
    walk.application.push(service.files({"tests/test_price.py": service.TEST.replace("20", "21")}))
    image = build_elsewhere(walk)  # of other files than the commit has: the labels say what its builder claims
    walk.application.push(
        service.files({"interlock.yaml": service.INTERLOCK.replace("[python, -m, tests.run]", '["false"]')})
    )
    image = build_elsewhere(walk)

    with pytest.raises(Blocked, match="is not released to dev"):
        await release(walk, image)

    assert released(walk) == {}


async def test_an_image_of_an_older_commit_is_left_to_the_newer(walk: Walk) -> None:
    """What the branch has left behind is not released: the newer commit has a pipeline of its own."""
    image = build_elsewhere(walk)
    walk.application.push(service.files({"README": "newer\n"}))

    with pytest.raises(Superseded, match="is newer on the branch"):
        await release(walk, image)

    assert released(walk) == {}


async def test_an_image_of_no_commit_of_the_branch_is_refused(walk: Walk) -> None:
    """Whoever may push images still cannot release what was never merged."""
    image = build_elsewhere(walk, said_of(walk, "7" * 40))

    with pytest.raises(Refused, match="not part of the protected branch") as caught:
        await release(walk, image)

    assert caught.value.rule == "foreign-image"


async def test_an_image_that_does_not_say_what_it_is_is_refused(walk: Walk) -> None:
    """The message gives the labels that its build needs."""
    image = build_elsewhere(walk, {"org.opencontainers.image.title": "web"})

    with pytest.raises(Refused, match="says something else in") as caught:
        await release(walk, image)

    assert f"--label org.opencontainers.image.revision={walk.application.head}" in caught.value.hint


async def test_an_image_that_the_registry_does_not_have_is_an_error(walk: Walk) -> None:
    """A digest of nothing names the image and what to do."""
    with pytest.raises(InputError, match="the registry does not have it"):
        await release(walk, f"{walk.image}@sha256:{'0' * 64}")


@pytest.mark.parametrize(("component", "image"), [("api", "{image}"), ("web", "elsewhere.example/shop/web")])
async def test_only_what_bindings_give_is_released(walk: Walk, component: str, image: str) -> None:
    """Neither a component that is bound nowhere nor a repository that its binding does not name."""
    given = f"{image.format(image=walk.image)}@sha256:{'0' * 64}"

    with pytest.raises(Refused):
        await release(walk, given, component)


def test_the_command_releases_it(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """`interlock release` is that order, with the host's configuration, and says what became of it."""
    config = walk.host.state.parent / "ci.yaml"
    config.write_text(json.dumps(walk.host.model_dump(mode="json", exclude_none=True)))
    monkeypatch.setenv("INTERLOCK_CONFIG", str(config))
    image = build_elsewhere(walk)

    done = CliRunner().invoke(build(), ["release", "shop", "--component", "web", "--image", image])

    assert done.exit_code == 0, done.output
    assert released(walk)["web"].image == image
    assert BaseImage.address not in image
