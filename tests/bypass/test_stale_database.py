"""A database of years ago, from before the hole was known."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from interlock.contract.finding import Scan
from interlock.contract.gate import judge
from interlock.contract.models import GateRules
from sandbox.trivy_database import ADVISORIES, write_database
from tasks.ci.scanner import Scanner, check_scanner
from tests.bypass.bypass import PINNED, Plain, write


def test_it_is_refused(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """Its age stands in the scan, and the gate holds it against policy."""
    write(tmp_path / "source", {"requirements.txt": PINNED})
    old = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    known = [each for each in ADVISORIES if each.id == "CVE-2023-32681"]
    write_database(tmp_path / "stale", now=old, advisories=known)
    ids = plain.run("fs", ".", "--cache-dir", str(tmp_path / "stale"), cwd=tmp_path / "source")
    assert ids == {"CVE-2023-32681"}

    ours = replace(scanner, database=tmp_path / "stale", cache=tmp_path / "own")
    database = replace(check_scanner.fn(ours), pinned=False)
    verdict = judge(
        [Scan("source", database=database)],
        None,
        rules=GateRules(),
        waivers=(),
        component="web",
        now=dt.datetime.now(dt.UTC),
        required=("source",),
    )

    assert "the vulnerability database is" in verdict.reasons[0]
    assert "hours old, policy allows 168" in verdict.reasons[0]
    assert database.digest in verdict.databases[0]
