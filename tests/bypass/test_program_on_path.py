"""A program of Trivy's name, earlier on PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.ci.scanner import check_scanner, local_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, found, write


def test_it_is_not_asked(plain: Plain, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is the one that the lock file brought."""
    folder, own = tmp_path / "source", tmp_path / "bin"
    write(folder, {"requirements.txt": PINNED})
    write(own, {"trivy": '#!/bin/sh\necho \'{"SchemaVersion": 2, "Results": []}\'\n'})
    (own / "trivy").chmod(0o755)
    by_name = ["trivy", "fs", ".", "--skip-db-update", "--quiet", "--format", "json"]
    honest = {"HOME": str(plain.home), "PATH": f"{plain.program.parent}:{os.environ['PATH']}"}
    tricked = honest | {"PATH": f"{own}:{honest['PATH']}"}
    seen = [subprocess.run(by_name, cwd=folder, env=env, capture_output=True, check=True) for env in (honest, tricked)]
    assert "CVE-2018-18074" in found(seen[0].stdout)
    assert found(seen[1].stdout) == frozenset()

    monkeypatch.setenv("PATH", tricked["PATH"])
    ours = local_scanner(database, pinned=True)
    scan = scan_folder.fn(ours, tmp_path, subject="source", database=check_scanner.fn(ours))

    assert "CVE-2018-18074" in {finding.id for finding in scan.findings}
