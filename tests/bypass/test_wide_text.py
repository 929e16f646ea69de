"""A secret in UTF-16."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(
    honest={"wide/key.txt": KEY}, tricked={"wide/key.txt": KEY.encode("utf-16")}, hidden="github-pat wide/key.txt:1"
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """It is written anew as UTF-8 in the copy that is scanned."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
