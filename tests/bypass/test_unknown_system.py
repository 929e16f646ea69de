"""An image that says that it is a system of which nobody has heard, or of a release that there is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, LIBC, SYSTEM_HOLE, image

KNOWS_NOTHING = "the vulnerability database knows nothing about debian 99.0"
ENDED = "debian 9.13 gets no security fixes any more"
NOT_LISTED = "it has packages in var/lib/dpkg/status, which the scanner does not list"


@pytest.mark.parametrize(
    ("files", "doubt"),
    [
        ({"etc/os-release": 'ID=debian\nVERSION_ID="99"\n', "etc/debian_version": "99.0\n"}, KNOWS_NOTHING),
        ({"etc/os-release": 'ID=debian\nVERSION_ID="9"\n', "etc/debian_version": "9.13\n"}, ENDED),
        ({"etc/os-release": 'ID=own\nVERSION_ID="1"\n'}, NOT_LISTED),
    ],
    ids=["release", "ended", "system"],
)
def test_it_is_not_assessed(
    plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path, files: dict[str, str], doubt: str
) -> None:
    """The database must know something about the system, and its makers must still publish fixes."""
    honest = image(tmp_path / "honest.tar", DEBIAN)
    tricked = image(tmp_path / "tricked.tar", {"var/lib/dpkg/status": LIBC} | files)
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()

    scan = jailed_image(tricked).scan

    assert not scan.assessed
    assert scan.doubt == doubt
