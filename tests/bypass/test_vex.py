"""A VEX document that says of itself that nothing is exploitable, which a setting names."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bypass.bypass import PINNED, Bypass, Plain

VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "https://example.org/vex",
    "author": "nobody",
    "timestamp": "2024-01-01T00:00:00Z",
    "version": 1,
    "statements": [
        {
            "vulnerability": {"name": "CVE-2018-18074"},
            "products": [{"@id": "pkg:pypi/requests@2.19.0"}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
        }
    ],
}
BYPASS = Bypass(
    honest={"vex/requirements.txt": PINNED},
    tricked={"vex/requirements.txt": PINNED, "vex.json": json.dumps(VEX)},
    hidden="CVE-2018-18074 vex/requirements.txt:1",
    settings={"vulnerability": {"vex": ["vex.json"]}},
)


def test_it_hides_nothing_from_us(plain: Plain, jailed: frozenset[str], tmp_path: Path) -> None:
    """Who may say that is asked by waivers, which lie in the environment repository."""
    plain.show(BYPASS, tmp_path)

    assert BYPASS.hidden in jailed
