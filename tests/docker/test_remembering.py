"""A check that remembers says just what one says that looks anew, whatever changed in between."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flows.ci.check import check_order
from flows.ci.remembering import Remembering
from interlock.ci.part import Part
from interlock.contract import repository
from interlock.errors import Blocked, ParameterError
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from tasks.ci.images import daemon
from tasks.ci.local import Files
from tasks.ci.scanner import Scanner
from tests import examples_of_repositories as example
from tests.docker.recorder import Recorder
from tests.docker.test_check import TOKEN, folder, program

__all__ = ["folder", "program"]

Check = Callable[..., Awaitable[tuple[object, list[str]]]]


@pytest.fixture
def check(folder: Path, program: Scanner, tmp_path: Path) -> Check:
    """The verdicts or the reasons, and the steps that were remembered; `anew` looks at everything."""

    now = dt.datetime.now(dt.UTC)  # of all runs of a test: an hour may end meanwhile, and with it what is remembered

    async def run(*, anew: bool = False, policy: str = "c" * 40, **more: object) -> tuple[object, list[str]]:
        remembering = Remembering(Recorder(), tmp_path / "checks", about=folder, now=now)
        presenter = Recorder() if anew else remembering
        read = repository.read(example.environment_tree(released=False, commit=policy))
        given = {"docker": None, "source": "shop", **more}
        try:
            found: object = (await check_order(presenter, folder, read, program=program, **given)).verdicts  # type: ignore[arg-type]
        except Blocked as blocked:
            found = blocked.reasons
        return found, remembering.again

    return run


def track(folder: Path, *paths: str) -> None:
    subprocess.run(["git", "add", *paths], cwd=folder, check=True)


EVERYTHING = {
    "check scanner",
    "scan source",
    "check configurations of source",
    "analyse code",
    "render dev",
    "validate dev",
    "scan manifests",
}


async def test_the_second_time_everything_is_remembered(check: Check) -> None:
    """And the verdict is the same as of a check that looks at everything."""
    plain, _ = await check(anew=True)
    first, none = await check()
    second, again = await check()

    assert isinstance(plain, dict)
    assert first == second == plain
    assert none == []
    assert set(again) == EVERYTHING


@pytest.mark.parametrize(
    ("path", "text", "anew"),
    [
        ("shop/__init__.py", "def price(n):\n    return eval(n)\n", {"scan source", "analyse code"}),
        ("settings.py", f'TOKEN = "{TOKEN}"\n', {"scan source", "analyse code"}),
        ("requirements.txt", "requests==2.30.0\n", {"scan source", "check configurations of source"}),
        ("notes.md", f"{TOKEN}\n", {"scan source"}),
        ("deploy/Dockerfile.go", "FROM scratch\nUSER root\n", {"scan source", "check configurations of source"}),
        (
            "Dockerfile",
            "FROM interlock.sandbox/python:3.11\nUSER root\n",
            {"scan source", "check configurations of source"},
        ),
    ],
)
async def test_what_changed_is_looked_at_anew(check: Check, folder: Path, path: str, text: str, anew: set[str]) -> None:
    """Only that, and with the verdict of a check that looks at everything; going back gives the first one."""
    first, _ = await check()
    before = (folder / path).read_bytes() if (folder / path).exists() else None
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text)
    plain, _ = await check(anew=True)
    changed, again = await check()
    if before is None:
        (folder / path).unlink()
    else:
        (folder / path).write_bytes(before)
    back, _ = await check()

    assert changed == plain
    assert EVERYTHING - set(again) == anew
    assert back == first


async def test_another_policy_or_database_is_judged_anew(
    check: Check, program: Scanner, folder: Path, tmp_path: Path
) -> None:
    """Another commit of the environment repository renders anew; a replaced database is looked at."""
    await check()
    _, again = await check(policy="d" * 40)
    assert EVERYTHING - set(again) == {"render dev", "validate dev"}

    metadata = program.database / "db" / "metadata.json"
    metadata.write_bytes(metadata.read_bytes())
    _, again = await check()
    assert "check scanner" not in again


async def test_what_somebody_spoilt_is_found_anew(check: Check, tmp_path: Path) -> None:
    """Half a result, or another version's, is none."""
    first, _ = await check()
    for path in (tmp_path / "checks").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    second, again = await check()

    assert second == first
    assert again == []


async def test_parts_are_judged_alone(check: Check, folder: Path) -> None:
    """A hook for secrets stops at a secret, one for configurations at those, and neither at the other's."""
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')
    secrets, _ = await check(only=Part.SECRETS)
    fine, _ = await check(only=Part.MISCONFIGURATION)
    (folder / "settings.py").unlink()
    (folder / "Dockerfile").write_text("FROM interlock.sandbox/python:3.11\nUSER root\n")
    clean, _ = await check(only=Part.SECRETS)
    wrong, _ = await check(only=Part.MISCONFIGURATION)

    assert secrets == ("source: secret github-pat in settings.py:1: GitHub Personal Access Token",)
    assert isinstance(fine, dict)
    assert isinstance(clean, dict)
    assert isinstance(wrong, tuple)
    assert "DS-0002" in wrong[0]


async def test_only_what_git_tracks_may_count(check: Check, folder: Path) -> None:
    """A hook judges what is about to be committed, not what lies beside it."""
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')
    track(folder, "--all", ":!settings.py")
    tracked, _ = await check(only=Part.SECRETS, files=Files.TRACKED)
    everything, _ = await check(only=Part.SECRETS)

    assert isinstance(tracked, dict)
    assert isinstance(everything, tuple)


async def test_tests_that_passed_are_not_run_again(
    check: Check, folder: Path, docker_daemon: Docker, base_image: BaseImage
) -> None:
    """Until something that the image is made of changes; tests that fail are run every time; nothing is left."""
    given = {"only": Part.TESTS, "docker": docker_daemon.docker_host}
    first, none = await check(**given)
    second, again = await check(**given)
    (folder / "shop/__init__.py").write_text("def price(n):\n    return 0\n")
    wrong, after = await check(**given)
    still, never = await check(**given)

    assert isinstance(first, dict)
    assert first == second
    assert (none, again) == ([], ["tests of web"])
    assert isinstance(wrong, tuple)
    assert wrong == still
    assert "test_price" in wrong[0]
    assert (after, never) == ([], [])
    with daemon(docker_daemon.docker_host) as client:
        assert not [tag for image in client.images.list() for tag in image.tags if tag.startswith("interlock-check/")]


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


async def test_a_secret_that_a_commit_took_back_is_found_before_the_push(check: Check, folder: Path) -> None:
    """Whoever pushes it publishes it; what a remote has already is no part of the push."""
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "First")
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "Oops")
    (folder / "settings.py").unlink()
    git(folder, "commit", "--all", "--message", "Take it back")
    found, _ = await check(only=Part.SECRETS)
    again, remembered = await check(only=Part.SECRETS)
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    pushed, _ = await check(only=Part.SECRETS)

    assert isinstance(found, tuple)
    assert "secret github-pat in settings.py@" in found[0]
    assert again == found
    assert remembered == ["scan source"]
    assert isinstance(pushed, dict)


async def test_a_commit_is_judged_as_it_is(check: Check, folder: Path) -> None:
    """What lies in the folder besides has no say."""
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "First")
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')
    fine, _ = await check(only=Part.SECRETS, commit="HEAD")

    assert isinstance(fine, dict)
    with pytest.raises(ParameterError, match="'nosuch' is no commit of"):
        await check(only=Part.SECRETS, commit="nosuch")
