"""Whole logs on CI's host: compressed, bounded, without secrets, and not for ever."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.contract.secret_text import MASK
from tasks.ci.kept_log import LogPlace, keeping
from tasks.common import redaction


@pytest.fixture
def place(tmp_path: Path) -> Iterator[LogPlace]:
    yield LogPlace(tmp_path / "logs" / "shop" / "web" / "1a2b-build.log.gz", most_bytes=1000, most_files=3)
    redaction.forget()


def read(place: LogPlace) -> str:
    return gzip.decompress(place.path.read_bytes()).decode()


def test_all_that_is_printed_is_kept(place: LogPlace) -> None:
    """For its own user alone, also of what fails."""
    with pytest.raises(RuntimeError), keeping(place) as keep:
        keep("Step 1")
        keep("näher")
        raise RuntimeError

    assert read(place) == "Step 1\nnäher\n"
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in place.path.parent.iterdir()] == [place.path.name]


def test_an_endless_log_is_bounded(place: LogPlace) -> None:
    """And says that it goes on."""
    with keeping(place) as keep:
        for number in range(10_000):
            keep(f"line {number} {'x' * 90}")

    lines = read(place).splitlines()
    assert lines[-1] == "the log goes on; the rest is not kept"
    assert 5 < len(lines) < 12


def test_secrets_are_masked(place: LogPlace) -> None:
    """As everywhere else that they might be printed."""
    redaction.know("canary-of-a-secret")
    with keeping(place) as keep:
        keep("token=canary-of-a-secret;")

    assert read(place) == f"token={MASK};\n"


def test_old_logs_go(place: LogPlace) -> None:
    """The newest stay."""
    for number in range(6):
        each = LogPlace(place.path.with_name(f"{number}-build.log.gz"), most_bytes=10, most_files=3)
        with keeping(each) as keep:
            keep("x")
        os.utime(each.path, (number, number))

    assert sorted(each.name[0] for each in place.path.parent.iterdir()) == ["3", "4", "5"]


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    """As at a developer's desk."""
    with keeping(None) as keep:
        keep("x")

    assert list(tmp_path.iterdir()) == []
