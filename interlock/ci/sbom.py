"""An image's bill of materials: what it must say to be one of this image."""

from __future__ import annotations

import json
from typing import Any, Literal

from interlock.errors import ScanFailed

Form = Literal["cyclonedx", "spdx"]


def of_contents(report: bytes, *, image: str) -> bytes:
    """The scanner's report on an image that was not pushed yet, as one on the image that the registry has.

    Only what is in it stays, not what was found wrong with it: that changes while the image does not.
    """
    read = _read(report, "the scanner's report")
    for result in read.get("Results") or ():
        for found in ("Vulnerabilities", "Misconfigurations", "Secrets"):
            result.pop(found, None)
    about = {**read.get("Metadata", {}), "RepoTags": [], "RepoDigests": [image], "Reference": image}
    return json.dumps({**read, "ArtifactName": image, "Metadata": about}).encode()


def renamed(document: bytes, old: str, new: str) -> bytes:
    """A document that calls its image by another digest; of `old` nobody else can have written anything."""
    return document.replace(old.removeprefix("sha256:").encode(), new.removeprefix("sha256:").encode())


def require_about(document: bytes, form: Form, *, image: str) -> bytes:
    """The document, when it is whole and says that it is about this image; ScanFailed otherwise."""
    read = _read(document, f"the bill of materials ({form})")
    names = _cyclonedx_names(read) if form == "cyclonedx" else _spdx_names(read)
    wanted = f"@{image.partition('@')[2]}"
    # In a package URL the colon is escaped.
    if not any(wanted in name.replace("%3A", ":") for name in names):
        raise ScanFailed(f"the bill of materials ({form}) is not about {image[:100]}")
    return document


def _cyclonedx_names(read: dict[str, Any]) -> list[str]:
    """What it says that it describes."""
    if read.get("bomFormat") != "CycloneDX" or not isinstance(read.get("specVersion"), str):
        return []
    match read.get("metadata"):
        case {"component": {"purl": str(purl)}}:
            return [purl]
    return []


def _spdx_names(read: dict[str, Any]) -> list[str]:
    if not str(read.get("spdxVersion", "")).startswith("SPDX-2."):
        return []
    match read.get("packages"):
        case [*packages]:
            return [
                str(reference.get("referenceLocator", ""))
                for package in packages
                if isinstance(package, dict) and package.get("primaryPackagePurpose") == "CONTAINER"
                for reference in package.get("externalRefs") or ()
                if isinstance(reference, dict)
            ]
    return []


def _read(data: bytes, what: str) -> dict[str, Any]:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise ScanFailed(f"{what} is not whole")
    return read
