"""A symlink in the place of a file: it is not followed, and nothing is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import InputError, ScanFailed
from tasks.ci.local import copy_folder
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import PINNED, Plain, write


def test_it_is_refused(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """A commit with one is not built, and a folder with one is not scanned; no file of the host is read through it."""
    folder, outside = tmp_path / "source", tmp_path / "outside"
    write(folder, {"requirements.txt": PINNED, "interlock.yaml": ""})
    assert "CVE-2018-18074" in plain.run("fs", ".", cwd=folder)
    (folder / "requirements.txt").rename(outside)
    (folder / "requirements.txt").symlink_to(outside)
    assert plain.run("fs", ".", cwd=folder) == frozenset()

    with pytest.raises(InputError, match="is not a regular file"):
        copy_folder.fn(folder, tmp_path / "work")
    with pytest.raises(ScanFailed, match=r"requirements\.txt is neither a file nor a folder"):
        scan_folder.fn(scanner, tmp_path, subject="source", database=check_scanner.fn(scanner))
