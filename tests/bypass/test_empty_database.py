"""A database without advisories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from sandbox.trivy_database import write_database
from tasks.ci.scanner import Scanner, check_scanner
from tests.bypass.bypass import PINNED, Plain, write


def test_it_is_refused(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """It does not know what every good one knows."""
    write(tmp_path / "source", {"requirements.txt": PINNED})
    write_database(tmp_path / "empty", advisories=())
    assert plain.run("fs", ".", "--cache-dir", str(tmp_path / "empty"), cwd=tmp_path / "source") == frozenset()

    with pytest.raises(ScanFailed, match="does not know CVE-2023-32681"):
        check_scanner.fn(replace(scanner, database=tmp_path / "empty", cache=tmp_path / "own"))
