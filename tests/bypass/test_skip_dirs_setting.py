"""`skip-dirs` in a trivy.yaml in the working folder."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"skipped-folder/requirements.txt": PINNED},
    tricked={"skipped-folder/requirements.txt": PINNED},
    hidden="CVE-2018-18074 skipped-folder/requirements.txt:1",
    settings={"scan": {"skip-dirs": ["skipped-folder"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The settings are ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
