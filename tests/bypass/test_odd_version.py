"""Requirements that pip understands and Trivy does not: `===`, a range, a version on the next line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bypass.bypass import PINNED, Bypass, Plain

LINES = ("requests===2.19.0\n", "requests~=2.19.0\n", "requests \\\n==2.19.0\n")
BYPASS = Bypass(
    honest={"odd/requirements.txt": PINNED},
    tricked={"odd/requirements.txt": LINES[0]},
    hidden="CVE-2018-18074 odd/requirements.txt:1",
)


def test_it_is_a_finding(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """A line that does not name one version."""
    plain.show(BYPASS, tmp_path)

    assert "unlocked odd/requirements.txt:1" in jailed


@pytest.mark.parametrize("line", LINES[1:])
def test_others_are_hidden_from_trivy_too(plain: Plain, tmp_path: Path, line: str) -> None:
    """tests/unit/ci/test_locks.py has all of those that we tell."""
    (tmp_path / "requirements.txt").write_text(line)

    assert plain.run("fs", ".", cwd=tmp_path) == frozenset()
