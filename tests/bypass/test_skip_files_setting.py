"""`skip-files` in a trivy.yaml in the working folder."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"skipped-file/requirements.txt": PINNED},
    tricked={"skipped-file/requirements.txt": PINNED},
    hidden="CVE-2018-18074 skipped-file/requirements.txt:1",
    settings={"scan": {"skip-files": ["**/requirements.txt"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The settings are ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
