"""A release's findings as a file on CI's host, for whoever feeds an editor, a forge or a collection of findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.common.effect import effect
from tasks.common.whole_file import write_whole

_KEPT = 20
"""So many files of each component stay: those of the newest runs."""


@effect(name="write findings")
def write_findings(state: Path, document: Mapping[str, Any], *, repository: str, component: str, commit: str) -> Path:
    """Write a SARIF log below the state folder, whole or not at all; where it is."""
    folder = state / "sarif" / repository.replace("/", "%2F") / component
    path = folder / f"{commit[:12]}.sarif"
    write_whole(path, json.dumps(document, indent=1).encode())
    newest = sorted(folder.glob("*.sarif"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for old in newest[_KEPT:]:
        old.unlink(missing_ok=True)
    return path
