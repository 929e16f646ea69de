"""Pieces of Trivy's JSON, as its version 0.76 writes them."""

from __future__ import annotations

import json
from typing import Any

VULNERABILITY = {
    "VulnerabilityID": "CVE-2023-32681",
    "PkgName": "requests",
    "PkgIdentifier": {"PURL": "pkg:pypi/requests@2.30.0", "UID": "4417"},
    "InstalledVersion": "2.30.0",
    "FixedVersion": "2.31.0",
    "Status": "fixed",
    "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2023-32681",
    "Title": "python-requests: leak of a header",
    "Severity": "MEDIUM",
}
PACKAGE = {
    "Name": "requests",
    "Identifier": {"PURL": "pkg:pypi/requests@2.30.0", "UID": "4417"},
    "Version": "2.30.0",
    "Locations": [{"StartLine": 7, "EndLine": 7}],
}
SECRET = {"RuleID": "github-pat", "Category": "GitHub", "Severity": "CRITICAL", "Title": "GitHub token", "StartLine": 3}
MISCONFIGURATION = {
    "ID": "DS-0002",
    "Title": "Image user should not be 'root'",
    "Message": "Specify at least 1 USER command",
    "Severity": "HIGH",
    "Status": "FAIL",
    "PrimaryURL": "https://avd.aquasec.com/misconfig/ds-0002",
    "CauseMetadata": {"Provider": "Dockerfile", "StartLine": 2},
}
LOCK_FILE = {
    "Target": "source/requirements.txt",
    "Class": "lang-pkgs",
    "Type": "pip",
    "Packages": [PACKAGE],
    "Vulnerabilities": [VULNERABILITY],
}
DOCKERFILE = {
    "Target": "source/Dockerfile",
    "Class": "config",
    "Type": "dockerfile",
    "MisconfSummary": {"Successes": 26, "Failures": 1},
    "Misconfigurations": [MISCONFIGURATION],
}
SOURCE_FILE = {"Target": "source/app.py", "Class": "secret", "Secrets": [SECRET]}
SYSTEM = {"Target": "/scan/web.tar (debian 12.15)", "Class": "os-pkgs", "Type": "debian", "Packages": [PACKAGE]}


def folder_report(*results: dict[str, Any], **changes: Any) -> bytes:
    report: dict[str, Any] = {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.76.0"},
        "ArtifactName": "/scan",
        "ArtifactType": "filesystem",
        "Results": list(results),
    }
    return json.dumps(report | changes).encode()


def image_report(*results: dict[str, Any], system: dict[str, Any] | None = None, **changes: Any) -> bytes:
    metadata = {"OS": system, "ImageID": "sha256:" + "1" * 64}
    return folder_report(*results, **({"ArtifactType": "container_image", "Metadata": metadata} | changes))
