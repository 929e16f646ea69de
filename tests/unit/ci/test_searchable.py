"""What a scanner reads of a file: no comment, no encoding, no name and no stray byte keeps it from the text."""

from __future__ import annotations

import random

import pytest

from interlock.ci.searchable import overlooked, readable


def test_ignores_are_blanked_in_place() -> None:
    """The comment no longer works, and every line and column stays."""
    text = b"FROM x\n#trivy:ignore:DS-0002 tfsec:IGNORE:*\nUSER root\n"

    blanked = readable(text)

    assert len(blanked) == len(text)
    assert blanked == b"FROM x\n#_____:ignore:DS-0002 _____:IGNORE:*\nUSER root\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_wide_text_becomes_utf_8(encoding: str) -> None:
    """An ignore in it is blanked too."""
    assert readable("FROM x\n#trivy:ignore:DS\n".encode(encoding)) == b"FROM x\n#_____:ignore:DS\n"


@pytest.mark.parametrize(
    "name", ["go.sum", "a/yarn.lock", "logo.svg", "a.tar", "node_modules/own/index.js", "x/.git/config"]
)
def test_names_that_trivy_passes_over_are_searched(name: str) -> None:
    """By the file's name, its ending, or a folder that it is in."""
    assert overlooked(name, b"token\n") == b"token\n"


def test_other_files_are_left_to_trivy() -> None:
    """They need no copy."""
    assert overlooked("app.py", b"token\n\t\r\x1b[0m") == b""


def test_a_stray_byte_does_not_hide_a_text() -> None:
    """Trivy takes it for a program."""
    assert overlooked("app.env", b"\0token=1\n") == b" token=1\n"
    assert overlooked("app.env", b"#\x01\n" + b"x" * (2 << 20)).endswith(b"x")


def test_large_files_without_text_are_left_out() -> None:
    """A film takes long to search and holds nothing to read."""
    film = random.Random(1).randbytes(2 << 20)

    assert overlooked("film.bin", film) == b""
    assert overlooked("small.bin", film[:1000]) != b""
