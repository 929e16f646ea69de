"""`interlock check`: the gate's word on a folder, without writing anything anywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.ci.check import Checked, check_order
from interlock.contract import repository
from interlock.errors import Blocked, FormatError, InputError, ParameterError
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.parts.trivy import Trivy
from tasks.ci.images import daemon
from tasks.ci.scanner import Scanner
from tests import examples_of_repositories as example
from tests.docker import service
from tests.docker.recorder import Recorder

TOKEN = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone with the tiny service, as a developer has it: untracked files, an ignored one."""
    where = tmp_path / "shop"
    for name, content in service.files({".gitignore": ".env\n"}).items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content or b"")
    subprocess.run(["git", "init", "--quiet", str(where)], check=True)
    (where / ".env").write_text(f"TOKEN={TOKEN}\n")
    return where


@pytest.fixture
def program(trivy_database: Trivy, scanner_cache: Path) -> Scanner:
    return Scanner(trivy_database.program, trivy_database.cache, scanner_cache, pinned=True)


async def check(
    folder: Path,
    program: Scanner,
    *,
    docker: str | None = None,
    environments: bool = True,
    recorder: Recorder | None = None,
    source: str = "shop",
) -> Checked:
    found = repository.read(example.environment_tree(released=False)) if environments else None
    return await check_order(recorder or Recorder(), folder, found, program=program, docker=docker, source=source)


async def test_with_docker_everything_is_judged(
    folder: Path, program: Scanner, docker_daemon: Docker, base_image: BaseImage
) -> None:
    """For the environments of the bindings; what git ignores is not looked at; no image is left."""
    recorder = Recorder()

    checked = await check(folder, program, docker=docker_daemon.docker_host, recorder=recorder)

    assert checked.passed
    assert list(checked.verdicts["web"]) == ["dev"]
    assert [report.key for report in recorder.reports] == ["scan", "tests", "gate"]
    with daemon(docker_daemon.docker_host) as client:
        assert not [tag for image in client.images.list() for tag in image.tags if tag.startswith("interlock-check/")]


async def test_without_docker_and_environments_the_sources_are_judged(folder: Path, program: Scanner) -> None:
    """By the default policy, and it says what was left out."""
    recorder = Recorder()

    checked = await check(folder, program, environments=False, recorder=recorder)

    assert checked.passed
    assert "without Docker neither the image nor its tests were judged" in recorder.said


async def test_what_the_gate_would_stop_is_told(folder: Path, program: Scanner) -> None:
    """An untracked file counts: it would be in the next commit."""
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')

    with pytest.raises(Blocked) as caught:
        await check(folder, program)

    assert caught.value.reasons == ("source: secret github-pat in settings.py:1: GitHub Personal Access Token",)


async def test_a_source_that_no_binding_names_is_told(folder: Path, program: Scanner) -> None:
    """Instead of a verdict that leaves the manifests out."""
    with pytest.raises(ParameterError, match="no binding is about nosuch") as caught:
        await check(folder, program, source="nosuch")
    assert caught.value.hint == "the repositories that bindings name: shop"


async def test_what_ci_would_refuse_is_told(folder: Path, program: Scanner) -> None:
    """A symlink, and a folder that describes no component."""
    (folder / "link").symlink_to("Dockerfile")
    with pytest.raises(InputError, match="link is not a regular file"):
        await check(folder, program)
    (folder / "interlock.yaml").unlink()
    with pytest.raises(FormatError, match=r"interlock\.yaml: the file is missing") as caught:
        await check(folder, program)
    assert caught.value.hint == "`interlock init application` writes one"


async def test_an_environment_repository_is_told_from_an_application(folder: Path, program: Scanner) -> None:
    """Where environments.yaml lies, the message names the command that checks such a folder."""
    (folder / "interlock.yaml").rename(folder / "environments.yaml")
    with pytest.raises(FormatError, match=r"interlock\.yaml: the file is missing") as caught:
        await check(folder, program)
    assert caught.value.hint == "this is an environment repository: `interlock render --check` checks it"


async def test_a_description_that_is_no_text_is_told_with_its_place(folder: Path, program: Scanner) -> None:
    """Bytes that are not UTF-8 are a mistake in the file, not in Interlock."""
    (folder / "interlock.yaml").write_bytes(b"format: 1\n\xff")
    with pytest.raises(FormatError, match=r"interlock\.yaml: not UTF-8 at byte 10") as caught:
        await check(folder, program)
    assert caught.value.hint == "save it as UTF-8"
