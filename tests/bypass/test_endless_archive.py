"""A layer that unpacks to more than anybody has time or room for."""

from __future__ import annotations

import subprocess
import tarfile
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from tasks.ci.scanner import Scanner, check_scanner, scan_image
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, image, tar

BLOCK = 64 << 20
BLOCKS = 480


def test_it_is_stopped(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """In a bounded time, with bounded memory, as a scan that failed; plain Trivy is still at it then."""
    archive = image(tmp_path / "web.tar", endless())
    words = [str(plain.program), "image", "--input", str(archive), "--skip-db-update", "--quiet", "--format", "json"]
    variables = {"HOME": str(plain.home), "TMPDIR": str(tmp_path)}
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, check=False, timeout=4)

    database = check_scanner.fn(scanner)
    started = time.monotonic()
    with pytest.raises(ScanFailed, match=r"stopped after 3 s|out of memory|not read in time"):
        scan_image.fn(replace(scanner, seconds=3), archive, database=database)

    assert time.monotonic() - started < 30


def endless() -> bytes:
    """A layer of 30 GiB in 30 MiB: one file, whose text is compressed once and repeated."""
    info = tarfile.TarInfo("app/data.txt")
    info.size = BLOCK * BLOCKS
    system = tar(DEBIAN).rstrip(b"\0")
    system += bytes(-len(system) % tarfile.BLOCKSIZE)
    return _member(system + info.tobuf(tarfile.GNU_FORMAT)) + _member(b"a" * BLOCK) * BLOCKS


def _member(data: bytes) -> bytes:
    """A gzip member; many of them one after the other are one file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
