"""`#trivy:ignore` in a Dockerfile."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import ROOT, Bypass, Plain

BYPASS = Bypass(
    honest={"inline/Dockerfile": ROOT},
    tricked={"inline/Dockerfile": ROOT.replace("USER", "#trivy:ignore:DS-0002\nUSER")},
    hidden="DS-0002 inline/Dockerfile:3",
    options=("--scanners", "misconfig"),
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """It is blanked in the copy that is scanned."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
