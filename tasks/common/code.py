"""Which code decides: its sources themselves, since what is being developed has no version of its own."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def digest_of(*folders: Path) -> str:
    """Of all modules in these folders, for caches that must not outlive the code that filled them."""
    found = hashlib.sha256()
    for folder in folders:
        for module in sorted(folder.glob("*.py")):
            found.update(module.read_bytes())
    return found.hexdigest()
