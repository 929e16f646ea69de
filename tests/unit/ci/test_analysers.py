"""Reading what an analyser of source code reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.ci.analysers.analyser import Remark
from interlock.ci.analysers.bandit import BANDIT, concerns, read
from interlock.errors import ScanFailed

ISSUE = {
    "filename": "code/0.py",
    "issue_severity": "HIGH",
    "issue_text": "subprocess call with shell=True identified, security issue.",
    "line_number": 2,
    "more_info": "https://bandit.readthedocs.io/b602",
    "test_id": "B602",
    "test_name": "subprocess_popen_with_shell_equals_true",
    "code": "2 subprocess.call(x, shell=True)",
}


def report(**changes: Any) -> bytes:
    whole = {"errors": [], "metrics": {"_totals": {}, "code/0.py": {}}, "results": [ISSUE]}
    return json.dumps(whole | changes).encode()


def test_bandits_remarks_are_read() -> None:
    """With file, line, severity and a link; a file with an error has no verdict."""
    failed = {"filename": "code/1.py", "reason": "syntax error"}

    reading = read(report(errors=[failed], metrics={"_totals": {}, "code/0.py": {}, "code/1.py": {}}))

    assert reading.judged == {"0.py"}
    assert reading.unread == {"1.py": "syntax error"}
    assert reading.remarks == (
        Remark("0.py", "B602", "HIGH", ISSUE["issue_text"], line=2, link=ISSUE["more_info"]),  # type: ignore[arg-type]
    )


def test_a_password_that_it_quotes_is_not_passed_on() -> None:
    """Reports are read by more people than the code."""
    quoting = ISSUE | {"test_id": "B105", "test_name": "hardcoded_password_string", "issue_text": "password: 'h2'"}

    assert read(report(results=[quoting])).remarks[0].title == "hardcoded password string"


@pytest.mark.parametrize(
    "text", [b"", b"{}", report()[:-30], report(results=None), report(results=[ISSUE | {"issue_severity": "?"}])]
)
def test_half_a_report_is_none(text: bytes) -> None:
    """Never a clean one."""
    with pytest.raises(ScanFailed, match="not whole"):
        read(text)


def test_python_is_known_by_name_or_first_line() -> None:
    """Scripts often have no ending."""
    assert concerns("a/b.py", b"")
    assert concerns("bin/run", b"#!/usr/bin/env python3\n")
    assert not concerns("bin/run", b"#!/bin/sh\n# python\n")
    assert not concerns("a.txt", b"import os\n")


def test_its_canary_is_python() -> None:
    """A file that nobody could read would prove nothing."""
    compile(BANDIT.canary, "canary.py", "exec")
