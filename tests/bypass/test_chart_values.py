"""A chart that is harmless by its default values, which nobody deploys it with."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.ci.scanner import Scanner, scan_manifests
from tests.bypass.bypass import Plain, write

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: web\n"
    "    securityContext: {privileged: {{ .Values.privileged }}}\n"
)


def test_it_hides_nothing_from_us(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """What is scanned are the manifests as they are rendered for each environment."""
    chart = {"Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n", "templates/pod.yaml": POD}
    write(tmp_path / "honest", chart | {"values.yaml": "privileged: true\n"})
    write(tmp_path / "tricked", chart | {"values.yaml": "privileged: false\n", "prod.yaml": "privileged: true\n"})
    words = ("fs", ".", "--scanners", "misconfig")
    assert "KSV-0017" in plain.run(*words, cwd=tmp_path / "honest")
    assert "KSV-0017" not in plain.run(*words, cwd=tmp_path / "tricked")

    container = {"name": "web", "image": "web", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
    scan = scan_manifests.fn(scanner, tmp_path / "ours", {"prod/pod.web.yaml": json.dumps(pod).encode()})

    assert "KSV-0017" in {finding.id for finding in scan.findings}
