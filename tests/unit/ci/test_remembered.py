"""Where a desk's checks keep what they found: bounded, whole or not at all, and written by nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.ci import remembered


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """In a folder that only its owner can read; another key has nothing."""
    folder = tmp_path / "deep" / "checks"
    remembered.write(folder, "a", b"1")

    assert remembered.read(folder, "a") == b"1"
    assert remembered.read(folder, "b") is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_folder_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    """Nor a link to one: what somebody planted there decides nothing, and nothing is written into it."""
    folder = tmp_path / "checks"
    remembered.write(folder, "a", b"1")
    (tmp_path / "link").symlink_to(folder)
    assert remembered.read(tmp_path / "link", "a") is None
    folder.chmod(0o777)
    remembered.write(folder, "b", b"2")

    assert remembered.read(folder, "a") is None
    assert not (folder / "b").exists()


def test_there_is_never_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used last stays; a result that is too large is not kept."""
    monkeypatch.setattr(remembered, "MOST_FILES", 10)
    monkeypatch.setattr(remembered, "MOST_BYTES", 3)
    for number in range(10):
        remembered.write(tmp_path / "c", str(number), b"x")
    assert remembered.read(tmp_path / "c", "0") == b"x"
    remembered.write(tmp_path / "c", "large", b"xxxx")
    remembered.write(tmp_path / "c", "last", b"x")

    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert {"0", "last"} <= names
    assert len(names) == 5


def test_an_unwritable_place_costs_nothing_but_time(tmp_path: Path) -> None:
    """A cache that cannot be is no error."""
    (tmp_path / "file").write_text("")
    remembered.write(tmp_path / "file" / "c", "a", b"1")

    assert remembered.read(tmp_path / "file" / "c", "a") is None


def test_a_key_has_no_two_readings() -> None:
    """Parts cannot be shifted from one to the next."""
    assert remembered.key("ab", "c") != remembered.key("a", "bc")
    assert remembered.key("a", "b") == remembered.key("a", "b")


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """Each change of either gives another."""
    found: set[str] = set()
    for name, content in (("a", b"1"), ("a", b"2"), ("b", b"2"), ("ab", b""), ("a", b"b")):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        (folder / name).write_bytes(content)
        found.add(remembered.digest(folder, remembered.names(folder)))

    assert len(found) == 5


def test_a_check_loads_neither_prefect_nor_docker() -> None:
    """Importing them takes longer than all that a check of a few files does."""
    code = (
        "import sys, flows.ci.check, flows.ci.remembering, tasks.common.render, tasks.common.validate\n"
        "print(sorted({'prefect', 'docker', 'kubernetes', 'git'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"
