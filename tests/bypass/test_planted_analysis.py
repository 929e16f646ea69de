"""What earlier runs found is kept on the host: a planted or damaged result of an analyser is not believed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ci.analysers.bandit import BANDIT
from interlock.errors import ScanFailed
from tasks.ci.code import analyse_code
from tasks.ci.kept import Kept
from tests.bypass.bypass import Unsealed

HOLE = "import subprocess\nsubprocess.call(input(), shell=True)\n"


def analyse(folder: Path, kept: Kept) -> tuple[set[str], str]:
    """What is found, and what is said of where it comes from."""
    scan = analyse_code.fn(folder, seconds=60, kept=kept)
    return {f"{each.id} {each.place}" for each in scan.findings if each.severity == "HIGH"}, " ".join(scan.notes)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "app.py").write_text(HOLE)
    (folder / "clean.py").write_text("x = 1\n")
    return folder


def test_a_planted_verdict_is_refused(tree: Path, tmp_path: Path) -> None:
    """Without the seal the word that a file is clean would be believed; with it the file is read."""
    kept = Kept(tmp_path / "kept", "shop")
    analyse(tree, kept)
    (result,) = kept.folder.iterdir()
    plain = result.read_bytes()[32:]
    clean = json.dumps(dict.fromkeys(json.loads(plain), ())).encode()

    result.write_bytes(clean)
    assert "B602 app.py:2" not in analyse(tree, Unsealed(kept.folder, "shop"))[0]

    result.write_bytes(b"0" * 32 + clean)
    assert analyse(tree, kept) == ({"B602 app.py:2"}, "")


def test_a_verdict_from_another_host_is_refused(tree: Path, tmp_path: Path) -> None:
    """Each host has a key of its own, so nobody brings a folder along that they sealed themselves."""
    theirs, ours = Kept(tmp_path / "theirs", "shop"), Kept(tmp_path / "ours", "shop")
    (tree / "app.py").write_text("x = 2\n")
    analyse(tree, theirs)
    ours.write("made", b"a key")
    shutil.copytree(theirs.folder, ours.folder, dirs_exist_ok=True)

    (tree / "app.py").write_text(HOLE)
    assert analyse(tree, ours) == ({"B602 app.py:2"}, "")


def test_a_damaged_verdict_is_found_anew(tree: Path, tmp_path: Path) -> None:
    """One byte is enough."""
    kept = Kept(tmp_path / "kept", "shop")
    analyse(tree, kept)
    (result,) = kept.folder.iterdir()
    result.write_bytes(result.read_bytes().replace(b"B602", b"B601"))

    assert analyse(tree, kept) == ({"B602 app.py:2"}, "")


def test_a_kept_verdict_is_the_same_and_says_so(tree: Path, tmp_path: Path) -> None:
    """Also of a file that was renamed or copied; a file with other contents is read."""
    kept = Kept(tmp_path / "kept", "shop")
    assert analyse(tree, kept) == ({"B602 app.py:2"}, "")
    found, note = analyse(tree, kept)
    assert found == {"B602 app.py:2"}
    assert note.startswith("2 of 2 files are as an earlier run of bandit 1.")

    (tree / "app.py").rename(tree / "-moved.py")
    (tree / "copied.py").write_text(HOLE)
    (tree / "clean.py").write_text(f"\n{HOLE}")
    found, note = analyse(tree, kept)
    assert found == {"B602 -moved.py:2", "B602 copied.py:2", "B602 clean.py:3"}
    assert note.startswith("2 of 3 files")


def test_the_canary_is_sought_when_nothing_is_new(tree: Path, tmp_path: Path) -> None:
    """An analyser that finds nothing today has no verdict today, whatever it found before."""
    kept = Kept(tmp_path / "kept", "shop")
    analyse(tree, kept)
    blind = replace(BANDIT, canary=b"x = 1\n")

    with pytest.raises(ScanFailed, match="does not find B602"):
        analyse_code.fn(tree, seconds=60, analysers=(blind,), kept=kept)
