"""`severity` in a trivy.yaml in the working folder."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"severity/requirements.txt": PINNED},
    tricked={"severity/requirements.txt": PINNED},
    hidden="CVE-2018-18074 severity/requirements.txt:1",
    settings={"severity": ["LOW"]},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """All severities are asked for; which of them block is for the gate."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
