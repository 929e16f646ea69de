"""A secret in a folder `.git` inside the tree."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(
    honest={"nested/key": KEY},
    tricked={"nested/vendored/.git/config": KEY},
    hidden="github-pat nested/vendored/.git/config:1",
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Git takes no such path; in a folder that has one all the same it is copied to a name that is searched."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
