"""Requirements under a name that Trivy does not know."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"renamed/requirements.txt": PINNED},
    tricked={"renamed/requirements-prod.txt": PINNED},
    hidden="CVE-2018-18074 renamed/requirements-prod.txt:1",
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The names that people give them are known here; what no name tells is found in the image."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
