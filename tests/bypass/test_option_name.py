"""A file whose name is an option, which a shell hands on: `trivy fs *`."""

from __future__ import annotations

from pathlib import Path

from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, write

NAME = "--severity=LOW"


def test_it_hides_nothing_from_us(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """No name of a file is an argument."""
    folder = tmp_path / "source"
    write(folder, {"app/requirements.txt": PINNED})
    shell = ("sh", "-c", '"$0" "$@" *')
    assert "CVE-2018-18074" in plain.run("fs", cwd=folder, before=shell)
    write(folder, {NAME: ""})
    assert plain.run("fs", cwd=folder, before=shell) == frozenset()

    scan = scan_folder.fn(scanner, tmp_path, subject="source", database=check_scanner.fn(scanner))

    assert "CVE-2018-18074" in {finding.id for finding in scan.findings}
