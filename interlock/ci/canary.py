"""What every scan must find, so that one that finds nothing is not taken for a clean one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Literal

from interlock.ci.systems import is_known, package_url

Kind = Literal["vuln", "secret", "misconfig"]
"""As the scanner names what it looks for in a folder."""
KINDS: tuple[Kind, ...] = ("vuln", "secret", "misconfig")
FOLDER = "canary"
VULNERABILITY = "CVE-2023-32681"
"""Every good database knows this one."""
_SECRET = "github-pat"  # noqa: S105 - a rule's name
_MISCONFIGURATION = "DS-0002"
_PACKAGE = "requests"
_VERSION = "2.30.0"

# Of each system at least one of these has had a hole since its first release.
_OLD = ("glibc", "openssl", "musl", "busybox", "curl", "zlib", "bash", "systemd", "expat", "libxml2", "apk-tools")


def files(kinds: Collection[Kind]) -> Mapping[str, bytes]:
    """Files to lay beside what is scanned, with one finding of each kind."""
    # Nobody's. Joined when it is asked for, so that no compiled module of ours holds it whole.
    token = "_".join(("ghp", "Zx81" * 9))
    laid: dict[Kind, tuple[str, bytes]] = {
        "vuln": ("requirements.txt", f"{_PACKAGE}=={_VERSION}\n".encode()),
        "secret": ("token.txt", f"token = {token}\n".encode()),
        "misconfig": ("Dockerfile", b"FROM debian:12\nUSER root\n"),
    }
    return dict(laid[kind] for kind in kinds)


def expected(kinds: Collection[Kind]) -> frozenset[str]:
    """What must be found in those files."""
    ids: dict[Kind, str] = {"vuln": VULNERABILITY, "secret": _SECRET, "misconfig": _MISCONFIGURATION}
    return frozenset(ids[kind] for kind in kinds)


def bill(*, family: str = "", version: str = "") -> bytes:
    """A CycloneDX document in which VULNERABILITY must be found, and at least one of a known system too."""
    components = [_component(_PACKAGE, _VERSION, f"pkg:pypi/{_PACKAGE}@{_VERSION}")]
    if is_known(family):
        components.append({"bom-ref": "system", "type": "operating-system", "name": family, "version": version})
        components.extend(_system_package(name, family, version) for name in _OLD)
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}).encode()


def _system_package(name: str, family: str, version: str) -> dict[str, object]:
    url = package_url(name, family=family, version=version)
    properties = {"PkgType": family, "SrcName": name, "SrcVersion": "0"}
    return _component(name, "0", url) | {
        "properties": [{"name": f"aquasecurity:trivy:{key}", "value": value} for key, value in properties.items()]
    }


def _component(name: str, version: str, url: str) -> dict[str, object]:
    return {"bom-ref": url, "type": "library", "name": name, "version": version, "purl": url}
