"""An image of a system whose packages the scanner does not look up, beside some that it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.ci.scanner import ImageScan
from tests.bypass import rpm
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, LIBC, SYSTEM_HOLE, Layer, image

PYTHON = {"usr/lib/python3/dist-packages/click-8.0.0.dist-info/METADATA": "Name: click\nVersion: 8.0.0\n"}
RPM = {rpm.PATH: rpm.database()}
OPENSSL = {rpm.PATH: rpm.database(name="openssl-libs", version="1.0.1e")}
FIXED = {"var/lib/dpkg/status": LIBC.replace("deb12u1", "deb12u9")}
PACMAN = "var/lib/pacman/local/glibc-2.36-1/desc"
NOT_LISTED = "it has packages in {}, which the scanner does not list"


@pytest.mark.parametrize(
    ("files", "doubt"),
    [
        ({"etc/fedora-release": "Fedora release 39 (Thirty Nine)\n", **RPM}, NOT_LISTED.format(rpm.PATH)),
        ({"etc/os-release": 'ID=own\nVERSION_ID="1"\n', **RPM}, NOT_LISTED.format(rpm.PATH)),
        ({"etc/os-release": "ID=arch\n", PACMAN: "%NAME%\nglibc\n"}, NOT_LISTED.format(PACMAN)),
        (DEBIAN | FIXED | OPENSSL, f"it has packages in {rpm.PATH}, which are none of debian 12.1"),
    ],
    ids=["fedora", "unheard of", "arch", "another's packages"],
)
def test_it_is_not_assessed(
    plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path, files: Layer, doubt: str
) -> None:
    """Whatever else is listed, each list of packages in it must be one that the scanner judges."""
    honest = image(tmp_path / "honest.tar", DEBIAN | PYTHON)
    tricked = image(tmp_path / "tricked.tar", {**PYTHON, **files})
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()

    scan = jailed_image(tricked).scan

    assert not scan.assessed
    assert scan.doubt == doubt
