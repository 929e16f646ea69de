"""`ignore-status` in a trivy.yaml: what has a fix is not told."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"status/requirements.txt": PINNED},
    tricked={"status/requirements.txt": PINNED},
    hidden="CVE-2018-18074 status/requirements.txt:1",
    settings={"vulnerability": {"ignore-status": ["fixed"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Which status blocks is for the gate to say."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
