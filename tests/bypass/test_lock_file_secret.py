"""A secret in a file that is called a lock file."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(honest={"locked/key.txt": KEY}, tricked={"locked/go.sum": KEY}, hidden="github-pat locked/go.sum:1")


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """It is copied to a name that is searched."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
