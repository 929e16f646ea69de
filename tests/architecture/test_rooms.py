"""The rooms are those of the design, and each half stands without the other's tools."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.contract.builtin import FLOWS

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "interlock": {"contract", "ci", "cd", "cli"},
    "tasks": {"common", "ci", "cd"},
    "flows": {"ci", "cd"},
}
# What a host of each half does not have installed.
OTHERS = {"ci": ("kubernetes",), "cd": ("docker",)}


def packages(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def modules(*rooms: str) -> list[str]:
    """Every module below these rooms, by its dotted name."""
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]


def python(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with only the checkout and the installed packages."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("room", ROOMS)
def test_there_are_just_the_rooms_of_the_design(room: str) -> None:
    """A new room is a decision, not an accident."""
    assert packages(ROOT / room) == ROOMS[room]


def test_no_module_hides_an_importable_package() -> None:
    """A top-level file of ours is never named like something that others import."""
    ours = {path.stem for path in ROOT.glob("*.py")}

    assert not {name for name in ours if importlib.util.find_spec(name) and name != "conftest"}


@pytest.mark.parametrize("half", OTHERS)
def test_a_half_loads_without_the_other_halfs_tools(half: str) -> None:
    """On a CI host nothing needs the Kubernetes client, on a CD host nothing needs the Docker SDK."""
    names = modules(f"interlock/{half}", f"tasks/{half}", f"flows/{half}", "interlock/contract", "tasks/common")
    code = f"""
import importlib, sys
for absent in {OTHERS[half]!r}:
    sys.modules[absent] = None
for name in {names!r}:
    importlib.import_module(name)
other = {"cd" if half == "ci" else "ci"!r}
rooms = tuple(f"{{top}}.{{other}}" for top in ("flows", "tasks", "interlock"))
met = [name for name in sys.modules if name.startswith(rooms)]
assert not met, met
"""
    done = python(code)

    assert done.returncode == 0, done.stderr


def test_an_entrypoint_loads_as_the_flow_that_it_names() -> None:
    """What a worker is told to run is there, under that name."""
    named = {flow.entrypoint: flow.name for half in FLOWS.values() for flow in half.values()}
    code = f"""
import importlib
from prefect import Flow
for entrypoint, name in {named!r}.items():
    module, _, function = entrypoint.rpartition(".")
    found = getattr(importlib.import_module(module), function)
    assert isinstance(found, Flow) and found.name == name, (entrypoint, found)
"""
    done = python(code)

    assert done.returncode == 0, done.stderr


def test_the_help_loads_nothing_that_takes_long() -> None:
    """Of other people's packages Typer alone: what a command needs is loaded by the command."""
    code = """
import sys
from interlock.cli.main import run
sys.argv = ["interlock", "--help"]
try:
    run()
finally:
    files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
    others = {file.partition("site-packages/")[2].partition("/")[0] for file in files} - {""}
    assert others <= {"annotated_doc", "shellingham", "typer"}, others
"""
    done = python(code)

    assert done.returncode == 0, done.stderr
