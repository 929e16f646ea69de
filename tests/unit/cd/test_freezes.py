"""The files by which an environment is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cd import freezes


def causes(state: Path) -> list[str]:
    return [each.cause for each in freezes.read(state, "dev")]


def test_freezes_come_and_go(tmp_path: Path) -> None:
    """No folder is no freeze; drafts of a file that is being written are none either."""
    assert causes(tmp_path) == []
    freezes.put(tmp_path, "dev", cause="freshness", reason="too old")
    (tmp_path / "freezes" / "dev" / ".freshness.json.abc").touch()

    assert causes(tmp_path) == ["freshness"]
    assert freezes.lift(tmp_path, "dev", cause="freshness")
    assert causes(tmp_path) == []


@pytest.mark.parametrize("place", ["freezes", "freezes/dev"])
def test_a_folder_that_cannot_be_read_freezes(tmp_path: Path, place: str) -> None:
    """Whatever keeps it from being listed: what may be in it is not passed over."""
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.touch()

    assert causes(tmp_path) == ["unreadable"]


def test_a_folder_of_somebody_else_freezes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, as whom tests run, may list it all the same: so the system's answer is given in its place."""

    def refused(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", refused)
    monkeypatch.setattr("os.scandir", refused)

    assert causes(tmp_path) == ["unreadable"]
