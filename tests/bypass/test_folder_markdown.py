"""A secret in Markdown, which Trivy passes over by default."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(honest={"told/key.txt": KEY}, tricked={"told/README.md": KEY}, hidden="github-pat told/README.md:1")


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """What Trivy allows by default is not allowed here."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
