"""An image that does not say what system it is: its packages are not looked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, LIBC, SYSTEM_HOLE, image

PYTHON = {"usr/lib/python3/dist-packages/click-8.0.0.dist-info/METADATA": "Name: click\nVersion: 8.0.0\n"}


def test_it_is_not_assessed(plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path) -> None:
    """Though the scanner knows other packages in it."""
    honest = image(tmp_path / "honest.tar", DEBIAN | PYTHON)
    tricked = image(tmp_path / "tricked.tar", {"var/lib/dpkg/status": LIBC} | PYTHON)
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()

    scan = jailed_image(tricked).scan

    assert not scan.assessed
    assert scan.doubt == "it has packages in var/lib/dpkg/status, which the scanner does not list"
