"""A secret in a text that begins with a NUL byte, as if it were a program."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(
    honest={"stray/key.env": KEY}, tricked={"stray/key.env": "\0\n" + KEY}, hidden="github-pat stray/key.env:2"
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Stray bytes are blanked in a copy."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
