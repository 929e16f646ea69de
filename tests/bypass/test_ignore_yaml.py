"""`.trivyignore.yaml`, which a setting in the working folder names."""

from __future__ import annotations

from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

BYPASS = Bypass(
    honest={"ignored-yaml/requirements.txt": PINNED},
    tricked={"ignored-yaml/requirements.txt": PINNED, ".trivyignore.yaml": "vulnerabilities: [{id: CVE-2018-18074}]"},
    hidden="CVE-2018-18074 ignored-yaml/requirements.txt:1",
    settings={"ignorefile": ".trivyignore.yaml"},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """The settings and the ignore file are ours and empty."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
