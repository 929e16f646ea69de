"""The variable TRIVY_CACHE_DIR: a database in the tree, which knows nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from sandbox.trivy_database import write_database
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, write


def test_it_hides_nothing_from_us(
    plain: Plain, scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database is, the host's file says."""
    folder = tmp_path / "source"
    write(folder, {"requirements.txt": PINNED})
    write_database(folder / "planted", advisories=())
    variables = {"TRIVY_CACHE_DIR": "planted"}
    assert "CVE-2018-18074" in plain.run("fs", ".", cwd=folder)
    assert plain.run("fs", ".", cwd=folder, variables=variables) == frozenset()

    monkeypatch.setenv("TRIVY_CACHE_DIR", str(folder / "planted"))
    monkeypatch.chdir(folder)
    database = check_scanner.fn(scanner)
    scan = scan_folder.fn(scanner, tmp_path, subject="source", database=database)

    assert "CVE-2018-18074" in {finding.id for finding in scan.findings}
    with pytest.raises(ScanFailed, match="does not know"):
        check_scanner.fn(Scanner(scanner.binary, folder / "planted", tmp_path / "cache", pinned=True))
