"""A Dockerfile builds on an image, a frontend or an address that nobody allowed, by a name that hides it.

Defence: every image, frontend and address of a Dockerfile is found before the build, or the line refused where builders
could differ, and held against `build` in policy/gate.yaml of the environment repository; a build pulls nothing but
these, each by the digest that its name had (interlock/ci/references.py, tasks/ci/images.py). CD holds what the
provenance names to the same list of the commit that it deploys (interlock/cd/chain.py).
Not defended: with no `build.images` in policy, any image may be built on. What an allowed image's makers put into it is
scanned, and otherwise believed.
"""

from __future__ import annotations

import pytest

from interlock.ci.references import read_references, require_allowed
from interlock.contract.models import BuildRules
from interlock.errors import FormatError
from sandbox.parts.docker import Docker
from tasks.ci import images
from tasks.ci.images import daemon
from tests.docker.test_containers import BASE, Build
from tests.docker.test_containers import build as build  # noqa: PLC0414 - a fixture of that file

RULES = BuildRules(images=("interlock.sandbox/*",))
STRANGER = "interlock.stranger/tools:1"


@pytest.fixture
def stranger(build: Build, docker_daemon: Docker) -> str:
    """An image of somebody else's, in the daemon."""
    image = build({"Dockerfile": f"{BASE}RUN echo evil > /evil\n"})
    with daemon(docker_daemon.docker_host) as client:
        client.api.tag(image.id, STRANGER.partition(":")[0], "1")
    return STRANGER


def dockerfile(stranger: str) -> str:
    return f"ARG FROM={stranger}\n{BASE}COPY --from={stranger} /evil /evil\nRUN cat /evil\n"


def test_a_strangers_image_succeeds_without_the_list(
    build: Build, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is in the image that ships."""
    monkeypatch.setattr(images, "require_allowed", lambda *_: None)
    said: list[str] = []

    build({"Dockerfile": dockerfile(stranger)}, rules=RULES, said=said)

    assert "evil" in said


def test_a_strangers_image_is_refused(build: Build, stranger: str) -> None:
    """Before anything is built, with its line."""
    said: list[str] = []

    with pytest.raises(FormatError, match=r"Dockerfile:3: the image interlock.stranger/tools:1 is not among those"):
        build({"Dockerfile": dockerfile(stranger)}, rules=RULES, said=said)

    assert said == []


HIDDEN = {
    "an argument": f"ARG X={STRANGER}\nFROM $X\n",
    "an argument's default": f"FROM ${{X:-{STRANGER}}}\n",
    "another stage": f"{BASE}FROM {STRANGER} AS other\n",
    "a stage that looks like one": f"FROM interlock.sandbox/python:3.11 AS a\nFROM {STRANGER} AS interlock.sandbox\n",
    "a copy": f"{BASE}COPY --from={STRANGER} /a /b\n",
    "a copy with more options": f"{BASE}COPY --chown=1 --from={STRANGER} /a /b\n",
    "a mount": f"{BASE}RUN --mount=type=bind,from={STRANGER},target=/x cat /x/evil\n",
    "small letters": f"from {STRANGER}\n",
    "a continued line": f"FROM \\\n  {STRANGER}\n",
    "another escape": f"# escape=`\nFROM `\n {STRANGER}\n",
    "a platform": f"FROM --platform=linux/amd64 {STRANGER}\n",
    "a comment between": f"FROM \\\n# interlock.sandbox/python:3.11\n{STRANGER}\n",
    "a name that begins alike": "FROM interlock.sandbox.stranger/tools:1\n",
    "a digest": f"FROM interlock.stranger/tools@sha256:{'1' * 64}\n",
    "an address": f"{BASE}ADD --checksum=sha256:{'1' * 64} http://stranger.example/x /x\n",
    "a frontend": f"# syntax=interlock.stranger/frontend\n{BASE}",
    "a frontend, spelled otherwise": f"#syntax = interlock.stranger/frontend\n{BASE}",
    "a frontend behind another directive": f"# escape=\\\n# syntax=interlock.stranger/frontend\n{BASE}",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_a_hidden_name_is_refused(text: str) -> None:
    """However it is written, it is found, or the line refused."""
    with pytest.raises(FormatError, match=r"Dockerfile:\d+: "):
        require_allowed(read_references(text, path="Dockerfile"), (RULES,))
