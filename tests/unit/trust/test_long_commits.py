"""Whoever may push writes commits as long as they are read: reading one takes time that grows with its length alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from interlock.contract import commit as commits
from interlock.contract import trailers

LONG = 1 << 20
HEAD = b"tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n" % commits.EMPTY_TREE.encode()


def _person(text: str) -> object:
    return commits.person(text)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: trailers.pairs("Change\n\na:" + " " * LONG), id="blanks"),
        pytest.param(lambda: trailers.pairs("Change\n\na:" + "\t" * LONG + "\0"), id="tabs"),
        pytest.param(lambda: trailers.pairs("Change\n\na: b" + " c" * (LONG // 2)), id="words"),
        pytest.param(lambda: trailers.pairs("Change\n" + "\n \t" * (LONG // 3)), id="paragraphs"),
        pytest.param(lambda: _person("\t" * LONG), id="a person of tabs"),
        pytest.param(lambda: _person("a\t" * (LONG // 2) + ">"), id="a person without an address"),
        pytest.param(lambda: commits.parse(HEAD + b"gpgsig x\n" + b" \n" * (LONG // 2) + b"\n\nx"), id="folded lines"),
        pytest.param(lambda: commits.committed(b"committer " + b"> 1" * (LONG // 3)), id="a committer"),
    ],
)
def test_reading_a_long_commit_is_quick(read: Callable[[], object]) -> None:
    """A mebibyte of anything is read within seconds, where what is not linear takes hours."""
    started = time.process_time()

    read()

    assert time.process_time() - started < 3


def test_what_stands_in_a_trailer_is_kept() -> None:
    """Blanks of any kind around a value are none of it, and a person's name is read without them."""
    found = trailers.pairs("Change\n\nCo-authored-by:\t Ben X  <ben@example.org> \t\nKey:value")

    assert found == (("Co-authored-by", "Ben X  <ben@example.org>"), ("Key", "value"))
    assert commits.person("\t Ben X  <ben@example.org> 1 +0000") == ("Ben X", "ben@example.org")
