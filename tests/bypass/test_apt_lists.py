"""A secret below `var/lib/apt/lists`, where people tell Trivy not to look because it takes so long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import KEY, Plain
from tests.bypass.images import DEBIAN, image


def test_it_is_found(plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path) -> None:
    """Only what has the name of one of apt's own long lists is passed over."""
    tricked = image(tmp_path / "tricked.tar", DEBIAN | {"var/lib/apt/lists/key.py": KEY})
    words = ("image", "--input", str(tricked))
    assert "github-pat" not in plain.run(*words, "--skip-dirs", "var/lib/apt/lists", cwd=tmp_path)
    assert "github-pat" in plain.run(*words, cwd=tmp_path)

    assert "github-pat" in {finding.id for finding in jailed_image(tricked).scan.findings}
