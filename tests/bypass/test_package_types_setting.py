"""`pkg.types` in a trivy.yaml: libraries are not looked at."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"types/requirements.txt": PINNED},
    tricked={"types/requirements.txt": PINNED},
    hidden="CVE-2018-18074 types/requirements.txt:1",
    settings={"pkg": {"types": ["os"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The settings are ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
