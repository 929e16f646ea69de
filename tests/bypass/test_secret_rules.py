"""`trivy-secret.yaml` in the working folder, which switches rules off."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import KEY, Bypass, Plain

BYPASS = Bypass(
    honest={"rules/key.py": KEY},
    tricked={"rules/key.py": KEY, "trivy-secret.yaml": "disable-rules: [github-pat]\n"},
    hidden="github-pat rules/key.py:1",
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The rules are ours."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
