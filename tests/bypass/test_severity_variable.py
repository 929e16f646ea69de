"""The variable TRIVY_SEVERITY."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"severity-variable/requirements.txt": PINNED},
    tricked={"severity-variable/requirements.txt": PINNED},
    hidden="CVE-2018-18074 severity-variable/requirements.txt:1",
    variables={"TRIVY_SEVERITY": "LOW"},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The scanner gets no variable that we inherited."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
