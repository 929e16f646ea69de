"""An image whose package database a later layer removes; the packages stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, SYSTEM_HOLE, image


def test_it_is_not_assessed(plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path) -> None:
    """The layer that had it is looked at."""
    honest = image(tmp_path / "honest.tar", DEBIAN)
    tricked = image(tmp_path / "tricked.tar", DEBIAN, {"var/lib/dpkg/.wh.status": ""})
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()

    scan = jailed_image(tricked).scan

    assert not scan.assessed
    assert scan.doubt == "it has packages in var/lib/dpkg/status, which the scanner does not list"
