"""The variable TRIVY_MISCONFIG_SCANNERS: Dockerfiles are not looked at."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import ROOT, Bypass, Plain

BYPASS = Bypass(
    honest={"scanners-of/Dockerfile": ROOT},
    tricked={"scanners-of/Dockerfile": ROOT},
    hidden="DS-0002 scanners-of/Dockerfile:2",
    variables={"TRIVY_MISCONFIG_SCANNERS": "helm"},
    options=("--scanners", "misconfig"),
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The scanner gets no variable that we inherited."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
