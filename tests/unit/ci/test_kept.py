"""What a CI host keeps of earlier scans: sealed, so that nobody without the key plants, swaps or changes a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.ci.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state" / "kept", "shop")


def test_what_was_written_is_read(kept: Kept) -> None:
    """Under the name that it rests on, by whoever has the key; the key is its owner's alone."""
    name = kept.name("code", "bandit 1")
    kept.write(name, b"found")

    assert Kept(kept.folder, "shop").read(name) == b"found"
    assert kept.read(kept.name("code", "bandit 2")) is None
    assert (kept.folder.parent / "kept.key").stat().st_mode & 0o777 == 0o600


def test_each_repository_has_its_own(kept: Kept) -> None:
    """Two that are released in turns do not take each other's place."""
    assert kept.name("code") != Kept(kept.folder, "other").name("code")


@pytest.mark.parametrize("content", [b"", b"found", b"0" * 32 + b"found", b"0" * 31])
def test_what_nobody_sealed_is_not_believed(kept: Kept, content: bytes) -> None:
    """Somebody wrote it into the folder without the key."""
    kept.write("a", b"other")
    (kept.folder / "a").write_bytes(content)

    assert kept.read("a") is None


def test_a_changed_byte_is_noticed(kept: Kept) -> None:
    """Wherever it is: a damaged disk changes no verdict."""
    kept.write("a", b"found")
    whole = (kept.folder / "a").read_bytes()
    for place in range(len(whole)):
        (kept.folder / "a").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept.read("a") is None


def test_a_result_counts_under_its_own_name_alone(kept: Kept) -> None:
    """Nobody makes an old verdict that of other files by moving it."""
    kept.write("a", b"clean")
    (kept.folder / "b").write_bytes((kept.folder / "a").read_bytes())

    assert kept.read("b") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_seals_nothing(kept: Kept, mode: int) -> None:
    """Who reads it could seal what they like."""
    kept.write("a", b"found")
    (kept.folder.parent / "kept.key").chmod(mode)

    assert kept.read("a") is None


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_damaged_key_seals_nothing(kept: Kept, key: bytes) -> None:
    """Then everything is found anew."""
    kept.write("a", b"found")
    (kept.folder.parent / "kept.key").write_bytes(key)
    kept.write("b", b"found")

    assert kept.read("a") is None
    assert not (kept.folder / "b").exists()
