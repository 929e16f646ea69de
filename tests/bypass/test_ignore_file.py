"""`.trivyignore` in the folder from which Trivy is started."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"ignored/requirements.txt": PINNED},
    tricked={"ignored/requirements.txt": PINNED, ".trivyignore": "CVE-2018-18074\nCVE-2023-32681\n"},
    hidden="CVE-2018-18074 ignored/requirements.txt:1",
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The working folder is ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
