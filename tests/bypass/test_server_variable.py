"""The variable TRIVY_SERVER: somebody else's server says that there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, write
from tests.bypass.lying_server import serve


def test_it_is_not_asked(plain: Plain, scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scanner gets no variable that we inherited, and reaches nobody."""
    folder = tmp_path / "source"
    write(folder, {"requirements.txt": PINNED})
    assert "CVE-2018-18074" in plain.run("fs", ".", cwd=folder)
    with serve(lambda path: (200, "application/protobuf", b"")) as (address, asked):
        ids = plain.run("fs", ".", cwd=folder, variables={"TRIVY_SERVER": address}, offline=False)
        assert ids == frozenset()
        assert asked
        asked.clear()

        monkeypatch.setenv("TRIVY_SERVER", address)
        scan = scan_folder.fn(scanner, tmp_path, subject="source", database=check_scanner.fn(scanner))

    assert "CVE-2018-18074" in {finding.id for finding in scan.findings}
    assert asked == []
