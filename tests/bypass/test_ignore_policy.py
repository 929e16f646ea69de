"""A policy in Rego that ignores everything, which a setting in the working folder names."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"policy/requirements.txt": PINNED},
    tricked={
        "policy/requirements.txt": PINNED,
        "ignore.rego": "package trivy\nimport rego.v1\ndefault ignore := true\n",
    },
    hidden="CVE-2018-18074 policy/requirements.txt:1",
    settings={"ignore-policy": "ignore.rego"},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The settings are ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
