"""The scan of manifests that are alike is kept on the host: a planted or damaged one is not believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.contract.finding import Scan
from tasks.ci.kept import Kept
from tasks.ci.scanner import Scanner, scan_manifests
from tests.bypass.bypass import Unsealed, nothing_found

PATH = "dev/pod.web.yaml"


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "kept", "shop")


def manifests(*, privileged: bool, image: str = "web@sha256:1") -> Mapping[str, bytes]:
    container = {"name": "web", "image": image, "securityContext": {"privileged": privileged}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
    return {PATH: json.dumps(pod).encode()}


def scan(scanner: Scanner, files: Mapping[str, bytes], kept: Kept, alike: Mapping[str, bytes] | None = None) -> Scan:
    folder = kept.folder.parent / f"files-{len(list(kept.folder.parent.iterdir()))}"
    return scan_manifests.fn(scanner, folder, files, alike=alike, kept=kept)


def is_privileged(found: Scan) -> bool:
    return "KSV-0017" in {finding.id for finding in found.findings}


def test_a_planted_scan_is_refused(scanner: Scanner, kept: Kept) -> None:
    """Without the seal the word that nothing is wrong would be believed; with it the manifests are scanned."""
    files = manifests(privileged=True)
    assert is_privileged(scan(scanner, files, kept))
    (result,) = kept.folder.iterdir()
    whole = result.read_bytes()
    clean = nothing_found(whole)

    result.write_bytes(clean)
    assert not is_privileged(scan(scanner, files, Unsealed(kept.folder, "shop")))

    for planted in (clean, whole[:32] + clean, whole[:-1]):
        result.write_bytes(planted)
        found = scan(scanner, files, kept)
        assert is_privileged(found)
        assert found.notes == ()


def test_a_kept_scan_is_the_same_and_says_so(scanner: Scanner, kept: Kept) -> None:
    """Of manifests that differ in what releases say alone; all others are scanned."""
    alike = manifests(privileged=True, image="\0image")
    first = scan(scanner, manifests(privileged=True), kept, alike)
    again = scan(scanner, manifests(privileged=True, image="web@sha256:2"), kept, alike)

    assert again == replace(first, notes=again.notes)
    assert again.notes == ("found by an earlier run on this host, in manifests that are alike",)
    other = scan(scanner, manifests(privileged=False), kept, manifests(privileged=False, image="\0image"))
    assert not is_privileged(other)
    assert other.notes == ()


def test_another_program_scans_again(scanner: Scanner, kept: Kept, tmp_path: Path) -> None:
    """Its checks may be others."""
    files = manifests(privileged=True)
    scan(scanner, files, kept)
    newer = tmp_path / "trivy"
    newer.write_bytes(scanner.binary.read_bytes())
    newer.chmod(0o755)

    assert scan(replace(scanner, binary=newer), files, kept).notes == ()
