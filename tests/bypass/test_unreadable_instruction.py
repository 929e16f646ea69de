"""An instruction that the scanner's parser does not read: any health check that Docker's own builder wrote down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.ci.scanner import ImageScan
from tests.bypass.bypass import Plain
from tests.bypass.images import DEBIAN, image

COPIED = {"created_by": "COPY . /app # buildkit"}
ROOT = {"created_by": "USER root", "empty_layer": True}
HEALTHCHECK = '/bin/sh -c #(nop)  HEALTHCHECK &{["CMD" "true"] "0s" "0s" "0s" \'\\x00\'}'
RUNS_AS_ROOT = "DS-0002"


def test_its_image_is_checked(plain: Plain, jailed_image: Callable[[Path], ImageScan], tmp_path: Path) -> None:
    """Plain Trivy passes over all instructions of the image then, and ends with 0."""
    hidden = {"created_by": HEALTHCHECK, "empty_layer": True}
    honest = image(tmp_path / "honest.tar", DEBIAN, history=[COPIED, ROOT])
    tricked = image(tmp_path / "tricked.tar", DEBIAN, history=[COPIED, ROOT, hidden])
    words = ("image", "--image-config-scanners", "misconfig", "--input")
    assert RUNS_AS_ROOT in plain.run(*words, str(honest), cwd=tmp_path)
    assert RUNS_AS_ROOT not in plain.run(*words, str(tricked), cwd=tmp_path)

    scan = jailed_image(tricked).scan

    assert RUNS_AS_ROOT in {finding.id for finding in scan.findings}
