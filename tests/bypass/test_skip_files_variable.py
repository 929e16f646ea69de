"""The variable TRIVY_SKIP_FILES."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"skipped-variable/requirements.txt": PINNED},
    tricked={"skipped-variable/requirements.txt": PINNED},
    hidden="CVE-2018-18074 skipped-variable/requirements.txt:1",
    variables={"TRIVY_SKIP_FILES": "**/*"},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The scanner gets no variable that we inherited."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
