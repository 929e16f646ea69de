"""A Dockerfile that is not called one."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import ROOT, Bypass, Plain

BYPASS = Bypass(
    honest={"named/Dockerfile": ROOT},
    tricked={"named/Container (web).txt": ROOT},
    hidden="DS-0002 named/Container (web).txt:2",
    options=("--scanners", "misconfig"),
    dockerfiles=("named/Container (web).txt",),
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """interlock.yaml names it, and without a verdict on it the scan fails."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
