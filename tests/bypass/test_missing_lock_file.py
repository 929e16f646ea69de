"""A manifest without its lock file: nothing says which versions are meant, so nothing is found."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bypass.bypass import Bypass, Plain

MANIFEST = json.dumps({"name": "x", "version": "1.0.0", "dependencies": {"lodash": "4.17.20"}})
LOCK = json.dumps(
    {
        "name": "x",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "x", "dependencies": {"lodash": "4.17.20"}},
            "node_modules/lodash": {"version": "4.17.20", "resolved": "https://registry.example.org/lodash.tgz"},
        },
    }
)
BYPASS = Bypass(
    honest={"unlocked/package.json": MANIFEST, "unlocked/package-lock.json": LOCK},
    tricked={"unlocked/package.json": MANIFEST},
    hidden="CVE-2021-23337 unlocked/package-lock.json",
)


def test_it_is_a_finding(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """What cannot be judged blocks as what was judged would; the image, which has the package, is scanned too."""
    plain.show(BYPASS, tmp_path)

    assert "unlocked unlocked/package.json" in jailed
