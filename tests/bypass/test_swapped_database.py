"""A database that somebody made, which knows what a canary asks for and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from sandbox.trivy_database import ADVISORIES, write_database
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, write


def test_it_is_refused(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """ci.yaml may name the digest of the one that counts; and nobody else may write where it lies."""
    write(tmp_path / "source", {"requirements.txt": PINNED})
    folder = tmp_path / "swapped"
    write_database(folder, advisories=[each for each in ADVISORIES if each.id == "CVE-2023-32681"])
    assert "CVE-2018-18074" not in plain.run("fs", ".", "--cache-dir", str(folder), cwd=tmp_path / "source")

    ours = replace(scanner, database=folder, cache=tmp_path / "own", digest="sha256:" + "0" * 64)
    with pytest.raises(ScanFailed, match=r"is sha256:[0-9a-f]{64}, and ci\.yaml accepts sha256:0000"):
        check_scanner.fn(ours)
    (folder / "db" / "trivy.db").chmod(0o666)
    with pytest.raises(ScanFailed, match="others may write the scanner's vulnerability database"):
        check_scanner.fn(replace(ours, digest=""))


def test_it_is_refused_while_a_run_goes_on(scanner: Scanner, tmp_path: Path) -> None:
    """What was looked at is what is used."""
    write(tmp_path / "source", {"requirements.txt": PINNED})
    folder = tmp_path / "swapped"
    write_database(folder)
    ours = replace(scanner, database=folder, cache=tmp_path / "own")
    database = check_scanner.fn(ours)

    write_database(folder, advisories=[each for each in ADVISORIES if each.id == "CVE-2023-32681"])

    with pytest.raises(ScanFailed, match="was replaced while it was used"):
        scan_folder.fn(ours, tmp_path, subject="source", database=database)
