"""What an application repository's folder holds that Interlock can use: Dockerfiles and tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from interlock.cli import dockerfile
from interlock.cli.dockerfile import Dockerfile

REPORT = "/tmp/junit.xml"  # noqa: S108 - in the container
RUNNER = "interlock_tests.py"
_DECLARES = ("pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", "Pipfile")
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py")


@dataclass(frozen=True)
class FoundTests:
    """How the tests run inside the image. `runner`: where our small unittest runner must be added, or empty.

    It lies among the tests, so that the COPY that brings them brings it too.
    """

    kind: str
    folder: str
    command: tuple[str, ...]
    runner: str = ""


@dataclass(frozen=True)
class FoundComponent:
    """One Dockerfile. Paths are relative to the repository; context `.` is the repository itself."""

    name: str
    context: str
    path: str
    dockerfile: Dockerfile
    tests: FoundTests | None


def components(repository: Path, *, name: str) -> tuple[FoundComponent, ...]:
    """One for the Dockerfile at the root, named `name`; otherwise one per folder with a Dockerfile."""
    if (repository / "Dockerfile").is_file():
        return _component(repository, ".", name=name)
    folders = sorted(path.parent.name for path in repository.glob("*/Dockerfile"))
    return tuple(found for folder in folders for found in _component(repository, folder, name=_slug(folder)))


def _component(repository: Path, context: str, *, name: str) -> tuple[FoundComponent, ...]:
    path = "Dockerfile" if context == "." else f"{context}/Dockerfile"
    read = dockerfile.read((repository / path).read_text(errors="replace"))
    if read is None:
        return ()
    return (FoundComponent(name, context, path, read, tests(repository / context, read)),)


def tests(folder: Path, image: Dockerfile) -> FoundTests | None:
    """The Python tests of a folder: pytest from vendored wheels, installed pytest, or unittest."""
    place = _test_folder(folder)
    if place is None:
        return None
    python = image.python or "python"
    if wheels := _pytest_wheels(folder):
        paths = ":".join(f"{image.workdir.rstrip('/')}/{wheel}" if image.workdir else wheel for wheel in wheels)
        command = ("env", f"PYTHONPATH={paths}", *_pytest(python, place))
        return FoundTests("pytest, from vendored wheels", place, command)
    if _declares_pytest(folder):
        return FoundTests("pytest, installed in the image", place, _pytest(python, place))
    runner = (Path(place) / RUNNER).as_posix()
    return FoundTests("unittest", place, (python, runner, place, REPORT), runner)


def uncopied(found: FoundComponent) -> tuple[str, ...]:
    """What the tests need and no COPY of the last stage seems to bring into the image."""
    if found.tests is None:
        return ()
    sources = {source.strip("/").removeprefix("./").partition("/")[0] for source in found.dockerfile.copied}
    needed = found.tests.runner if found.tests.folder == "." else found.tests.folder
    return (needed,) if needed and not sources & {".", "", "*", needed} else ()


def _pytest(python: str, place: str) -> tuple[str, ...]:
    return (python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={REPORT}", place)


def _test_folder(folder: Path) -> str | None:
    for name in ("tests", "test"):
        if any(_TEST_FILE.fullmatch(path.name) for path in (folder / name).rglob("*.py")):
            return name
    return "." if any(_TEST_FILE.fullmatch(path.name) for path in folder.glob("*.py")) else None


def _pytest_wheels(folder: Path) -> tuple[str, ...]:
    """pytest's wheel and those beside it; wheels of pure Python are importable as they are."""
    for path in sorted([*folder.glob("pytest-*-py3-none-any.whl"), *folder.glob("*/pytest-*-py3-none-any.whl")]):
        beside = path.parent.glob("*-none-any.whl")
        return tuple(sorted(wheel.relative_to(folder).as_posix() for wheel in beside))
    return ()


def _declares_pytest(folder: Path) -> bool:
    files = [*folder.glob("*requirements*.txt"), *(folder / name for name in _DECLARES)]
    return any("pytest" in path.read_text(errors="replace") for path in files if path.is_file())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63] or "web"
