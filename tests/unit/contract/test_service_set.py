"""The built-in template set passes the scanner's own checks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from interlock.contract import repository
from interlock.contract.render import render
from tests.examples_of_repositories import environment_tree

TRIVY = Path(sys.executable).parent / "trivy"
UNTRUSTED_REGISTRY = "KSV-0125"  # it trusts a fixed list of public registries


def test_the_set_has_no_misconfiguration(tmp_path: Path) -> None:
    """Trivy looks at both objects and finds nothing of any severity, but that it does not know the registry."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for each in render(repository.read(environment_tree()), "dev").manifests:
        (folder / f"{each.identity.kind}.json").write_bytes(each.canonical)
    command = (TRIVY, "config", "--skip-check-update", "--quiet", "--format", "json", "--cache-dir", tmp_path, folder)
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    results = json.loads(done.stdout)["Results"]
    found = {each["ID"] for result in results for each in result.get("Misconfigurations", ())}
    passed = sum(result["MisconfSummary"]["Successes"] for result in results)
    assert (found, passed > 50) == ({UNTRUSTED_REGISTRY}, True)
