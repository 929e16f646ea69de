"""The import contracts hold, and each of them can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("interlock", "tasks", "flows")
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# One forbidden import per contract: (the module that does it, the import).
BREAKS = {
    "layers": ("tasks.common.broken_layers", "flows.presenter"),
    "face": ("tasks.common.broken_face", "interlock.cli.main"),
    "contract": ("interlock.contract.broken_contract", "interlock.cd.host"),
    "ci": ("tasks.ci.broken_ci", "tasks.cd.host"),
    "cd": ("flows.cd.broken_cd", "interlock.ci.host"),
    "decisions": ("interlock.cd.broken_decisions", "socket"),
    "prefect": ("interlock.cli.broken_prefect", "prefect"),
    "receiver": ("tasks.common.receiver", "prefect"),
    "kubernetes": ("tasks.cd.broken_kubernetes", "kubernetes"),
    "pygithub": ("tasks.ci.broken_pygithub", "github"),
    "python-gitlab": ("tasks.ci.broken_python_gitlab", "gitlab"),
    "pyforgejo": ("tasks.ci.broken_pyforgejo", "pyforgejo"),
    "docker": ("tasks.ci.broken_docker", "docker"),
    "gitpython": ("tasks.common.broken_gitpython", "git"),
    "jinja2": ("tasks.common.broken_jinja2", "jinja2"),
    "pyrage": ("tasks.cd.broken_pyrage", "pyrage"),
    "yaml": ("tasks.common.broken_yaml", "yaml"),
    "jsonschema": ("tasks.common.broken_jsonschema", "jsonschema_rs"),
    "terminal": ("flows.broken_terminal", "rich"),
    "subprocess": ("flows.broken_subprocess", "subprocess"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over a tree, with nothing of this checkout on its path."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_holds(copy: Path) -> None:
    """No import crosses a wall, and no exception in the list is left over."""
    done = lint(copy)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


def test_every_contract_fails_when_it_is_broken(copy: Path) -> None:
    """One forbidden import for each contract, and each contract names its own."""
    assert BREAKS.keys() == CONTRACTS.keys()
    for module, imported in BREAKS.values():
        (copy / f"{module.replace('.', '/')}.py").write_text(f"import {imported}\n")

    done = lint(copy)

    assert done.returncode == 1
    for contract, (module, imported) in BREAKS.items():
        name = re.escape(CONTRACTS[contract])
        assert re.search(rf"^{name} BROKEN", done.stdout, re.MULTILINE), f"{contract} was not broken"
        # The report has one section per broken contract, under its underlined name.
        section = re.split(rf"^{name}\n-+\n", done.stdout, flags=re.MULTILINE)[-1]
        section = re.split(r"^.+\n-+\n", section, flags=re.MULTILINE)[0]
        assert re.search(rf"{re.escape(module)} -> {re.escape(imported)}\b", section), f"{contract}:\n{section}"
