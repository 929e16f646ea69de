"""`scanners` in a trivy.yaml in the working folder."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"scanners/requirements.txt": PINNED},
    tricked={"scanners/requirements.txt": PINNED},
    hidden="CVE-2018-18074 scanners/requirements.txt:1",
    settings={"scan": {"scanners": ["license"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Which scanners run is said with every call."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
