"""One database, plain Trivy, and our scanner's findings in all of the tricked folders at once."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tests.bypass
from interlock.contract import strict_yaml
from sandbox.trivy_database import write_database
from tasks.ci.scanner import ImageScan, Scanner, check_scanner, local_scanner, scan_folder, scan_image
from tests.bypass.bypass import Bypass, Plain, write


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a database of real advisories."""
    folder = tmp_path_factory.mktemp("database")
    write_database(folder)
    return folder


@pytest.fixture(scope="session")
def scanner(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanner:
    """Ours."""
    return replace(local_scanner(database, pinned=True), cache=tmp_path_factory.mktemp("scanner"), seconds=120)


@pytest.fixture(scope="session")
def plain(scanner: Scanner, database: Path, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Trivy as people run it."""
    home = tmp_path_factory.mktemp("home")
    (home / ".cache").mkdir()
    (home / ".cache" / "trivy").mkdir()
    (home / ".cache" / "trivy" / "db").symlink_to(database / "db")
    return Plain(scanner.binary, home)


@pytest.fixture(scope="session")
def jailed(scanner: Scanner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[frozenset[str]]:
    """What our scanner finds, as `id path:line`, in one folder that has every trick of every file here at once.

    The folder is the process's working folder and home too, and it has every hostile variable.
    """
    folder = tmp_path_factory.mktemp("jailed")
    settings: dict[str, Any] = {}
    dockerfiles: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for bypass in bypasses():
            _require_new(folder / "source", bypass)
            write(folder / "source", bypass.tricked)
            _merge(settings, bypass.settings)
            dockerfiles += bypass.dockerfiles
            for name, value in bypass.variables.items():
                patch.setenv(name, value)
        (folder / "source" / "trivy.yaml").write_text(strict_yaml.dump(settings))
        patch.chdir(folder / "source")
        patch.setenv("HOME", str(folder / "source"))
        scan = scan_folder.fn(
            scanner,
            folder,
            subject="source",
            database=check_scanner.fn(scanner),
            configurations=frozenset(dockerfiles),
            dockerfiles=dockerfiles,
        )
    yield frozenset(f"{finding.id} {finding.place}" for finding in scan.findings)


@pytest.fixture
def jailed_image(scanner: Scanner) -> Callable[..., ImageScan]:
    """Our scanner's result on an image's archive."""

    def scan(archive: Path) -> ImageScan:
        return scan_image.fn(scanner, archive, database=check_scanner.fn(scanner))

    return scan


def bypasses() -> Iterator[Bypass]:
    """Those that the modules beside this one declare."""
    for found in pkgutil.iter_modules(tests.bypass.__path__, "tests.bypass."):
        if found.name.rpartition(".")[2].startswith("test_"):
            bypass = getattr(importlib.import_module(found.name), "BYPASS", None)
            if bypass is not None:
                yield bypass


def _require_new(folder: Path, bypass: Bypass) -> None:
    """No trick may overwrite another."""
    there = [name for name in bypass.tricked if (folder / name).exists()]
    assert not there, there


def _merge(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            assert key not in into, key
            into[key] = value
