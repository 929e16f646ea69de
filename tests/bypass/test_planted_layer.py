"""A cache of layers that others may write: what it says of a layer is believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from tasks.ci.scanner import Scanner, check_scanner, scan_image
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, SYSTEM_HOLE, image


def test_it_is_refused(plain: Plain, scanner: Scanner, database: Path, tmp_path: Path) -> None:
    """Our cache is nobody else's to write."""
    archive = image(tmp_path / "web.tar", DEBIAN)
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    (cache / "db").symlink_to(database / "db")
    words = ("image", "--input", str(archive), "--cache-dir", str(cache), "--cache-backend", "fs")
    assert SYSTEM_HOLE in plain.run(*words, cwd=tmp_path)
    kept = cache / "fanal" / "fanal.db"
    kept.write_bytes(kept.read_bytes().replace(b"glibc", b"other"))
    assert SYSTEM_HOLE not in plain.run(*words, cwd=tmp_path)

    ours = replace(scanner, cache=cache)
    with pytest.raises(ScanFailed, match="others may write the scanner's cache"):
        scan_image.fn(ours, archive, database=check_scanner.fn(scanner))
