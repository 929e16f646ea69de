"""A system's list of packages under a second name: package managers read it there, and the scanner does not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, LIBC, SYSTEM_HOLE, image

STATUS = "var/lib/dpkg/status"
FIXED = {STATUS: LIBC.replace("deb12u1", "deb12u9")}


def _layer(kind: bytes, target: str) -> bytes:
    """The list with the hole in it, elsewhere, and a link to it where the system looks for it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        file = tarfile.TarInfo("opt/status")
        file.size = len(LIBC)
        archive.addfile(file, io.BytesIO(LIBC.encode()))
        link = tarfile.TarInfo(STATUS)
        link.type, link.linkname = kind, target
        archive.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.LNKTYPE, "opt/status"), (tarfile.SYMTYPE, "/opt/status")], ids=["hard", "symbolic"]
)
def test_it_is_not_assessed(
    plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path, kind: bytes, target: str
) -> None:
    """What a lower layer lists is not what the image has."""
    honest = image(tmp_path / "honest.tar", DEBIAN | FIXED, {STATUS: LIBC})
    tricked = image(tmp_path / "tricked.tar", DEBIAN | FIXED, _layer(kind, target))
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()

    scan = jailed_image(tricked).scan

    assert not scan.assessed
    assert scan.doubt == f"its list of packages {STATUS} is a link, which the scanner does not follow"
