"""The wheel holds what an installed Interlock needs, and nothing of the workshop."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*_cache", ".venv", ".git", "__pycache__", "dist"))
    shutil.copy(ROOT / ".gitignore", copy)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(copy / "dist")],
        cwd=copy,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_the_wheel_has_every_template_and_the_deployments(wheel: Path) -> None:
    """`interlock init` and `interlock declare` find their files in an installed Interlock."""
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = [path for path in (ROOT / "templates").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {f"interlock/_templates/{path.relative_to(ROOT / 'templates').as_posix()}" for path in templates}

    assert wanted
    assert not wanted - names
    assert "interlock/_prefect.yaml" in names


def test_the_wheel_has_the_three_rooms_and_nothing_else(wheel: Path) -> None:
    """No test, sandbox or example is installed on anybody's host."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"interlock", "flows", "tasks"}


def test_an_unpacked_wheel_makes_an_environment_repository(wheel: Path, tmp_path: Path) -> None:
    """Templates are found beside the package, not in the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
        "from interlock.cli import packaged\n"
        "print(packaged.templates(), *packaged.template_set('service'), packaged.prefect_file().is_file())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == [
        str(tmp_path / "installed/interlock/_templates"),
        "README.md",
        "_names.j2",
        "deployment.yaml.j2",
        "service.yaml.j2",
        "tests/service.yaml",
        "values.schema.json",
        "True",
    ]
