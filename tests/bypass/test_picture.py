"""A secret in a file that is called a picture."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(
    honest={"picture/logo.txt": KEY}, tricked={"picture/logo.svg": KEY}, hidden="github-pat picture/logo.svg:1"
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """It is copied to a name that is searched."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
