"""A secret in a layer of an image that a later layer removes: everybody who pulls the image has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import KEY
from tests.bypass.images import DEBIAN, image


def test_it_is_found(jailed_image: Callable[[Path], ImageScan], tmp_path: Path) -> None:
    """Also where Trivy has a reason to pass over it."""
    tricked = image(
        tmp_path / "tricked.tar",
        DEBIAN | {"app/key.py": KEY, "app/tests/key.py": KEY},
        {"app/.wh.key.py": "", "app/tests/.wh.key.py": ""},
    )

    found = {finding.target for finding in jailed_image(tricked).scan.findings if finding.id == "github-pat"}

    assert {"/app/key.py", "/app/tests/key.py"} <= found
