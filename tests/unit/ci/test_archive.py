"""Looking into an image's archive for packages that the image does not tell of."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from tasks.ci.archive import package_database
from tests.bypass.images import DEBIAN, image, tar

STATUS = "var/lib/dpkg/status"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("var/lib/dpkg/status", True),
        ("./var/lib/dpkg/status", True),
        ("var/lib/dpkg/status.d/base", True),
        ("lib/apk/db/installed", True),
        ("usr/lib/apk/db/installed", True),
        ("var/lib/rpm/rpmdb.sqlite", True),
        ("usr/lib/sysimage/rpm/Packages.db", True),
        ("var/lib/rpm/.rpm.lock", False),
        ("srv/var/lib/dpkg/status", False),
    ],
)
def test_package_databases_are_known_by_their_places(tmp_path: Path, path: str, *, found: bool) -> None:
    """Of every system that Trivy knows packages of."""
    assert bool(package_database(image(tmp_path / "web.tar", {path: "x"}), seconds=60)) is found


def test_one_in_a_lower_layer_is_seen(tmp_path: Path) -> None:
    """Also in a layer that is compressed."""
    removing = {"var/lib/dpkg/.wh.status": ""}

    assert package_database(image(tmp_path / "a.tar", DEBIAN, removing), seconds=60) == STATUS
    assert package_database(image(tmp_path / "b.tar", gzip.compress(tar(DEBIAN)), removing), seconds=60) == STATUS


def test_a_layer_that_cannot_be_unpacked_is_no_empty_one(tmp_path: Path) -> None:
    """Nobody knows what is in it."""
    assert "zstd" in package_database(image(tmp_path / "web.tar", b"\x28\xb5\x2f\xfd" + b"x" * 600), seconds=60)


def test_what_takes_too_long_or_is_no_archive_fails(tmp_path: Path) -> None:
    """Rather than to be taken for an image without packages."""
    (tmp_path / "web.tar").write_bytes(b"no archive")

    with pytest.raises(ScanFailed, match="cannot be read"):
        package_database(tmp_path / "web.tar", seconds=60)
    with pytest.raises(ScanFailed, match="not read in time"):
        package_database(image(tmp_path / "slow.tar", DEBIAN), seconds=-1)
