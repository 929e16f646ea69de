"""A package that the lock file says is for development, which `npm ci` installs all the same."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bypass.bypass import Bypass, Plain


def lock(*, development: bool) -> str:
    lodash = {"version": "4.17.20", "dev": development, "resolved": "https://registry.example.org/lodash.tgz"}
    packages = {"": {"name": "x"}, "node_modules/lodash": lodash}
    return json.dumps({"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": packages})


BYPASS = Bypass(
    honest={"development/package-lock.json": lock(development=False)},
    tricked={"development/package-lock.json": lock(development=True)},
    hidden="CVE-2021-23337 development/package-lock.json:1",
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Those are scanned too."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
