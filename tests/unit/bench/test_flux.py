"""Flux as a peer: what a folder with its programs must hold, and what is measured with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.flux import PROGRAMS, Programs


def test_a_folder_of_flux_is_whole_or_refused(tmp_path: Path) -> None:
    """Both programs and their definitions; what is missing is named."""
    with pytest.raises(ValueError, match=r"has no source-controller, kustomize-controller, crds/\*\.yaml"):
        Programs.of(tmp_path)
    for name in PROGRAMS:
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "two.yaml").write_text("{kind: A}\n---\n{kind: B}\n---\n")
    assert [each["kind"] for each in Programs.of(tmp_path).definitions] == ["A", "B"]
    (tmp_path / PROGRAMS[0]).chmod(0o644)
    with pytest.raises(ValueError, match=r"has no source-controller$"):
        Programs.of(tmp_path)
