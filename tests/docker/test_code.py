"""Analysers of source code as programs that are not trusted: nothing in the code makes them look away."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ci.analysers.bandit import BANDIT
from interlock.contract.finding import Scan
from interlock.errors import ScanFailed
from tasks.ci.code import analyse_code
from tests.unit.cli.commands import interlock

HOLE = "import subprocess\nsubprocess.call(input(), shell=True)\n"


def analyse(folder: Path, files: dict[str, str]) -> Scan:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return analyse_code.fn(folder, seconds=60)


def found(scan: Scan) -> set[str]:
    return {f"{finding.id} {finding.place}" for finding in scan.findings if finding.severity == "HIGH"}


def test_a_hole_is_found(tmp_path: Path) -> None:
    """With file, line, severity and a link, by an analyser of a known version."""
    scan = analyse(tmp_path, {"web/app.py": HOLE, "bin/run": f"#!/usr/bin/python3\n{HOLE}", "notes.txt": HOLE})

    assert found(scan) == {"B602 web/app.py:2", "B602 bin/run:3"}
    assert scan.scanner.startswith("bandit 1.")
    assert scan.findings[0].link.startswith("https://")


def test_nothing_in_the_tree_makes_it_look_away(tmp_path: Path) -> None:
    """Neither comments nor settings nor folders that it passes over by default."""
    scan = analyse(
        tmp_path,
        {
            "app.py": HOLE.replace("True)", "True)  # nosec"),
            ".bandit": "[bandit]\nskips: B602\nexclude: app.py\n",
            "pyproject.toml": "[tool.bandit]\nskips = ['B602']\n",
            "bandit.yaml": "skips: [B602]\n",
            ".tox/own.py": HOLE,
            "bandit/__init__.py": "raise SystemExit(0)\n",
            "-h.py": HOLE,
        },
    )

    assert found(scan) == {"B602 app.py:2", "B602 .tox/own.py:2", "B602 -h.py:2"}


def test_a_file_that_it_cannot_read_is_a_finding(tmp_path: Path) -> None:
    """Nobody knows what is in it."""
    scan = analyse(tmp_path, {"old.py": "print 'hello'\n", "deep.py": "(" * 9000 + ")" * 9000, "app.py": "x = 1\n"})

    assert found(scan) == {"unread old.py", "unread deep.py"}


def test_what_init_application_writes_has_no_findings(tmp_path: Path) -> None:
    """Nobody's first release tells of code that is Interlock's own."""
    (tmp_path / "Dockerfile").write_text("FROM debian:12\nCOPY . .\nUSER 1\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sums.py").write_text("import unittest\n")
    assert interlock("init", "application", "--yes", folder=tmp_path).returncode == 0
    assert (tmp_path / "tests" / "interlock_tests.py").exists()

    assert analyse_code.fn(tmp_path, seconds=60).findings == ()


def test_passwords_are_not_quoted(tmp_path: Path) -> None:
    """Reports are read by more people than the code."""
    scan = analyse(tmp_path, {"app.py": 'password = "hunter2hunter2"\n'})

    assert [finding.id for finding in scan.findings] == ["B105"]
    assert "hunter2" not in repr(scan)


def test_no_code_is_no_finding(tmp_path: Path) -> None:
    """A repository without Python is analysed all the same: the canary was found."""
    assert analyse(tmp_path, {"main.go": "package main\n"}).findings == ()


def test_an_analyser_that_finds_nothing_fails(tmp_path: Path) -> None:
    """Its canary tells."""
    with pytest.raises(ScanFailed, match="does not find B602"):
        analyse_code.fn(tmp_path, seconds=60, analysers=(replace(BANDIT, canary=b"x = 1\n"),))


def test_an_analyser_that_is_not_there_fails(tmp_path: Path) -> None:
    """Rather than to find nothing."""
    with pytest.raises(ScanFailed, match=r"exit code 1: .*No module named nothing_here"):
        analyse_code.fn(tmp_path, seconds=60, analysers=(replace(BANDIT, module="nothing_here"),))


def test_an_analyser_that_hangs_is_stopped(tmp_path: Path) -> None:
    """The gate blocks then, and says why."""
    hanging = replace(BANDIT, module="timeit", arguments=("-n", "1", "-s", "import time", "time.sleep(60)"))

    with pytest.raises(ScanFailed, match="stopped after 1 s"):
        analyse_code.fn(tmp_path, seconds=1, analysers=(hanging,))


def test_it_runs_without_network_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every scanner does."""
    monkeypatch.setenv("SOME_PASSWORD", "s3cret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    script = "import os, sys; print(dict(os.environ), sys.path[:1], file=sys.stderr, flush=True); os._exit(3)"
    telling = replace(BANDIT, module="timeit", arguments=("-n", "1", "-s", script))

    with pytest.raises(ScanFailed) as caught:
        analyse_code.fn(tmp_path, seconds=60, analysers=(telling,))

    assert "'LC_ALL': 'C.UTF-8'" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_it_reaches_no_network(tmp_path: Path) -> None:
    """As no scanner does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        calling = replace(BANDIT, module="timeit", arguments=("-n", "1", "-s", script))

        with pytest.raises(ScanFailed, match=r"(?s)exit code 1: .*(unreachable|refused)"):
            analyse_code.fn(tmp_path, seconds=60, analysers=(calling,))
