"""What a host runs out of is told, and what it cannot run out of stays a defect; a worker shows that it lives."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from interlock.errors import ToolError
from tasks.common.alive import beat, require_alive
from tasks.common.effect import effect


@effect(name="write it")
def failing(number: int, path: str | None) -> None:
    raise OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "make room on that disk"),
        (errno.EMFILE, "open files"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "the disk fails"),
    ],
)
def test_a_host_that_is_short_of_something_is_told(number: int, hint: str) -> None:
    """With the step, the file, and what to do; no traceback for what is no defect."""
    with pytest.raises(ToolError) as caught:
        failing.fn(number, "/work/x")

    assert caught.value.message == f"write it: /work/x: {os.strerror(number)}"
    assert hint in caught.value.hint
    assert not caught.value.transient


def test_other_errors_of_the_system_stay_defects() -> None:
    """A missing file says more about us than about the host."""
    with pytest.raises(FileNotFoundError):
        failing.fn(errno.ENOENT, "/work/x")


def test_a_worker_shows_that_it_lives(tmp_path: Path) -> None:
    """Until its sign is a minute old; one that was never there is told apart."""
    with pytest.raises(ToolError, match="no worker has started here"):
        require_alive(tmp_path)
    beat(tmp_path)
    assert require_alive(tmp_path) < 30
    os.utime(tmp_path / "alive", (0, 0))
    with pytest.raises(ToolError, match="no sign of life for"):
        require_alive(tmp_path)
