"""Looking into an image's archive for packages that the image does not tell of."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from tasks.ci.archive import package_lists
from tests.bypass.images import DEBIAN, image, tar

STATUS = "var/lib/dpkg/status"


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("var/lib/dpkg/status", "deb"),
        ("./var/lib/dpkg/status", "deb"),
        ("var//lib/./dpkg/status", "deb"),
        ("var/lib/dpkg/status.d/base", "deb"),
        ("lib/apk/db/installed", "apk"),
        ("usr/lib/apk/db/installed", "apk"),
        ("var/lib/rpm/rpmdb.sqlite", "rpm"),
        ("var/lib/rpm/Packages", "rpm"),
        ("usr/lib/sysimage/rpm/Packages.db", "rpm"),
        ("var/lib/rpmmanifest/container-manifest-2", "rpm"),
        ("var/lib/pacman/local/glibc-2.36-1/desc", "other"),
        ("var/db/pkg/sys-libs/glibc-2.36/PF", "other"),
        ("usr/lib/opkg/status", "other"),
        ("nix/var/nix/db/db.sqlite", "other"),
        ("var/lib/rpm/.rpm.lock", None),
        ("srv/var/lib/dpkg/status", None),
    ],
)
def test_lists_of_packages_are_known_by_their_places(tmp_path: Path, path: str, form: str | None) -> None:
    """Of every system that Trivy knows packages of, and of the others that are in use."""
    found = package_lists(image(tmp_path / "web.tar", {path: "x"}), seconds=60)

    assert found == ({form: path} if form else {})


def test_every_list_is_seen(tmp_path: Path) -> None:
    """In whatever layers they are, one of each form."""
    archive = image(tmp_path / "web.tar", DEBIAN, {"var/lib/rpm/Packages": "x", "var/lib/rpm/Name": "x"}, {"a": "b"})

    assert package_lists(archive, seconds=60) == {"deb": STATUS, "rpm": "var/lib/rpm/Packages"}


def test_one_in_a_lower_layer_is_seen(tmp_path: Path) -> None:
    """Also in a layer that is compressed."""
    removing = {"var/lib/dpkg/.wh.status": ""}

    plain, packed = image(tmp_path / "a.tar", DEBIAN, removing), gzip.compress(tar(DEBIAN))

    assert package_lists(plain, seconds=60) == {"deb": STATUS}
    assert package_lists(image(tmp_path / "b.tar", packed, removing), seconds=60) == {"deb": STATUS}


def test_a_layer_that_cannot_be_unpacked_is_no_empty_one(tmp_path: Path) -> None:
    """Nobody knows what is in it."""
    archive = image(tmp_path / "web.tar", b"\x28\xb5\x2f\xfd" + b"x" * 600)

    assert [*package_lists(archive, seconds=60)] == ["unread"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_layer_that_is_cut_off_fails(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What would come after the cut may be a list of packages."""
    layer = pack(tar({"a": b"x" * 4000, "b": b"y" * 4000}))

    with pytest.raises(ScanFailed, match="cannot be read"):
        package_lists(image(tmp_path / "web.tar", layer[: len(layer) * 2 // 3]), seconds=60)


def test_what_takes_too_long_or_is_no_archive_fails(tmp_path: Path) -> None:
    """Rather than to be taken for an image without packages."""
    (tmp_path / "web.tar").write_bytes(b"no archive")

    with pytest.raises(ScanFailed, match="cannot be read"):
        package_lists(tmp_path / "web.tar", seconds=60)
    with pytest.raises(ScanFailed, match="not read in time"):
        package_lists(image(tmp_path / "slow.tar", DEBIAN), seconds=-1)
