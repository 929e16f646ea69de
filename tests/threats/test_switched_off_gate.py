"""A file, a folder's name or a variable of the application repository makes the scanner look away, and the gate passes.

Number: 17
Defence: the scanner is a program of the lock file in a jail of its own, with its own settings, no environment, and
copies of the files without the names that it would obey; the database's age and content are checked before each use
(tasks/ci/scanner.py, tasks/ci/jail.py). Each known way has a file of its own in tests/bypass.
Not defended: ways that nobody knows yet. Code that is harmful without being a known flaw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import ScanFailed
from sandbox.trivy_database import write_database
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import KEY, PINNED, Bypass, Plain, write
from tests.bypass.conftest import database as database  # noqa: PLC0414 - fixtures of that room
from tests.bypass.conftest import plain as plain  # noqa: PLC0414
from tests.bypass.conftest import scanner as scanner  # noqa: PLC0414

CVE = "CVE-2018-18074"
WAYS: Mapping[str, Bypass] = {
    "a settings file": Bypass(
        honest={"requirements.txt": PINNED},
        tricked={"requirements.txt": PINNED},
        hidden=f"{CVE} requirements.txt:1",
        settings={"severity": ["LOW"]},
    ),
    "an ignore file": Bypass(
        honest={"requirements.txt": PINNED},
        tricked={"requirements.txt": PINNED, ".trivyignore": f"{CVE}\nCVE-2023-32681\n"},
        hidden=f"{CVE} requirements.txt:1",
    ),
    "a variable": Bypass(
        honest={"requirements.txt": PINNED},
        tricked={"requirements.txt": PINNED},
        hidden=f"{CVE} requirements.txt:1",
        variables={"TRIVY_SEVERITY": "LOW"},
    ),
    "a folder's name": Bypass(
        honest={"key.py": KEY}, tricked={"tests/key.py": KEY}, hidden="github-pat tests/key.py:1"
    ),
    "switched off secrets": Bypass(
        honest={"key.py": KEY},
        tricked={"key.py": KEY, "trivy-secret.yaml": "disable-rules: [github-pat]\n"},
        hidden="github-pat key.py:1",
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_looking_away_succeeds_with_plain_trivy(plain: Plain, tmp_path: Path, way: Bypass) -> None:
    """What it found before it does not find any more, and it ends with 0 both times."""
    plain.show(way, tmp_path)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_looking_away_is_refused(
    scanner: Scanner, tmp_path: Path, way: Bypass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours finds it all the same, with the variable set and the folder as its own."""
    source = tmp_path / "source"
    write(source, way.tricked)
    if way.settings:
        (source / "trivy.yaml").write_text("severity: [LOW]\n")
    for name, value in way.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(source)

    scan = scan_folder.fn(scanner, tmp_path, subject="source", database=check_scanner.fn(scanner))

    assert way.hidden in {f"{finding.id} {finding.place}" for finding in scan.findings}


def test_an_empty_database_succeeds_with_plain_trivy(plain: Plain, tmp_path: Path) -> None:
    """It knows no flaw, finds none, and ends with 0."""
    write(tmp_path / "source", {"requirements.txt": PINNED})
    write_database(tmp_path / "empty", advisories=())

    assert plain.run("fs", ".", "--cache-dir", str(tmp_path / "empty"), cwd=tmp_path / "source") == frozenset()


def test_an_empty_database_is_refused(scanner: Scanner, tmp_path: Path) -> None:
    """It does not know what every good one knows."""
    write_database(tmp_path / "empty", advisories=())

    with pytest.raises(ScanFailed, match="does not know CVE-2023-32681"):
        check_scanner.fn(replace(scanner, database=tmp_path / "empty", cache=tmp_path / "own"))
