"""What checks of configurations found is kept on the host: a planted or damaged result is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.contract.finding import Scan
from tasks.ci.kept import Kept
from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import KEY, PINNED, ROOT, Files, Unsealed, nothing_found, write

KEPT = "misconfiguration as an earlier run on this host found it, in the same files"
CLEAN: Files = {"Dockerfile": "FROM debian:12\nUSER 10001\nHEALTHCHECK CMD true\n"}
HOLES: Files = {"Dockerfile": ROOT, "requirements.txt": PINNED, "app.py": KEY}
FOUND = {"DS-0002 Dockerfile", "CVE-2018-18074 requirements.txt", "github-pat app.py"}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "kept", "shop")


def scan(scanner: Scanner, files: Files, kept: Kept, *, dockerfile: str = "Dockerfile") -> Scan:
    folder = kept.folder.parent / f"files-{len(list(kept.folder.parent.iterdir()))}"
    write(folder / "source", files)
    return scan_folder.fn(
        scanner,
        folder,
        subject="source",
        database=check_scanner.fn(scanner),
        configurations=frozenset({dockerfile}),
        dockerfiles=[dockerfile],
        kept=kept,
    )


def found(scan: Scan) -> set[str]:
    return {f"{each.id} {each.target}" for each in scan.findings} & FOUND


def test_a_planted_result_is_refused(scanner: Scanner, kept: Kept) -> None:
    """Without the seal the word that nothing is wrong would be believed; with it the files are checked."""
    assert found(scan(scanner, HOLES, kept)) == FOUND
    (result,) = kept.folder.iterdir()
    whole = result.read_bytes()
    clean = nothing_found(whole)

    result.write_bytes(clean)
    assert "DS-0002 Dockerfile" not in found(scan(scanner, HOLES, Unsealed(kept.folder, "shop")))

    for planted in (clean, whole[:32] + clean, whole[:-1]):
        result.write_bytes(planted)
        honest = scan(scanner, HOLES, kept)
        assert found(honest) == FOUND
        assert KEPT not in honest.notes


def test_a_result_of_other_files_does_not_count(scanner: Scanner, kept: Kept) -> None:
    """Neither of a clean file of the same name, nor of the same file under a name that no check reads."""
    scan(scanner, CLEAN, kept)
    assert "DS-0002 Dockerfile" in found(scan(scanner, HOLES, kept))
    (result, _) = sorted(kept.folder.iterdir(), key=lambda each: each.stat().st_mtime_ns)
    (other,) = {each for each in kept.folder.iterdir() if each != result}
    other.write_bytes(result.read_bytes())

    assert "DS-0002 Dockerfile" in found(scan(scanner, HOLES, kept))
    renamed = scan(scanner, {**CLEAN, "run.py": ROOT}, kept, dockerfile="run.py")
    assert "DS-0002" in {each.id for each in renamed.findings if each.target == "run.py"}


def test_a_kept_result_is_the_same_and_says_so(scanner: Scanner, kept: Kept) -> None:
    """Secrets and vulnerabilities are sought each time, in all files."""
    first = scan(scanner, HOLES, kept)
    again = scan(scanner, HOLES, kept)
    assert set(again.findings) == set(first.findings)
    assert again.database == first.database
    assert KEPT in again.notes
    assert KEPT not in first.notes

    changed = scan(scanner, {**HOLES, "app.py": f"x = 1\n{KEY}"}, kept)
    assert KEPT in changed.notes
    assert [each.line for each in changed.findings if each.id == "github-pat"] == [2]


NAMING: Mapping[str, Files] = {
    "terraform": {"main.tf": 'data = file("app.py")\n'},
    "helm": {"chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n"},
}


@pytest.mark.parametrize("kind", NAMING)
def test_where_a_file_may_name_others_all_of_them_count(scanner: Scanner, kept: Kept, kind: str) -> None:
    """Then a change of any file is checked."""
    scan(scanner, {**HOLES, **NAMING[kind]}, kept)

    assert KEPT in scan(scanner, {**HOLES, **NAMING[kind]}, kept).notes
    assert KEPT not in scan(scanner, {**HOLES, **NAMING[kind], "app.py": "x = 1\n"}, kept).notes
