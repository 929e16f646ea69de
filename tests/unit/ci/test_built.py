"""What this host remembers of its own builds."""

from __future__ import annotations

from pathlib import Path

from tasks.ci import built

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_only_what_was_noted_is_known(tmp_path: Path) -> None:
    """The very image, for the very inputs of the very repository."""
    built.note(tmp_path, "shop", key="il-1", image_id=ONE)

    assert built.is_built_here(tmp_path, "shop", key="il-1", image_id=ONE)
    for repository, key, image in (("shop", "il-1", OTHER), ("shop", "il-2", ONE), ("till", "il-1", ONE)):
        assert not built.is_built_here(tmp_path, repository, key=key, image_id=image)


def test_a_note_that_nobody_with_the_key_wrote_is_none(tmp_path: Path) -> None:
    """Who writes into the folder makes no image this host's."""
    built.note(tmp_path, "shop", key="il-1", image_id=ONE)
    (note,) = (tmp_path / "built").iterdir()
    note.write_bytes(note.read_bytes()[:32] + OTHER.encode())

    assert not built.is_built_here(tmp_path, "shop", key="il-1", image_id=OTHER)
