"""Coverage reports from containers that nobody trusts."""

from __future__ import annotations

import pytest

from interlock.ci.coverage import FileCoverage, read_coverage
from interlock.contract.canonical import digest
from interlock.errors import TestsFailed

REPORT = b"""<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>
<coverage line-rate="1" lines-valid="9999" lines-covered="9999"><packages><package name="shop"><classes>
<class name="a" filename="shop/a.py"><methods><method><lines><line number="1" hits="1"/></lines></method></methods>
<lines><line number="1" hits="1"/><line number="2" hits="0"/><line number="3" hits="7"/></lines></class>
<class name="b" filename="shop/a.py"><lines><line number="2" hits="1"/></lines></class>
<class name="c" filename="shop/b.py"><lines><line number="1" hits="0"/></lines></class>
</classes></package></packages></coverage>"""


def test_lines_are_counted_file_by_file() -> None:
    """From the lines themselves, not by what the report says of their sum; a line of two classes counts once."""
    found = read_coverage(REPORT)

    assert found.files == (FileCoverage("shop/a.py", 3, 3), FileCoverage("shop/b.py", 1, 0))
    assert (found.lines, found.covered) == (4, 3)
    assert found.summary == "75.0 % of 4 lines"
    assert found.digest == digest(REPORT)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<coverage/>", "names no line"),
        (b"<testsuite/>", "begins with <testsuite>"),
        (b"<coverage>", "cannot be read"),
        (b'<!DOCTYPE coverage SYSTEM "x" [<!ENTITY a "b">]><coverage/>', "DOCTYPE"),
        (b'<!DOCTYPE coverage [<!ENTITY a "b">]><coverage/>', "DOCTYPE"),
        (b"<!DOCTYPE coverage SYSTEM 'x'><!DOCTYPE coverage SYSTEM 'x'><coverage/>", "DOCTYPE"),
        (
            b"<coverage><class filename='a'><lines><line number='1'/></lines></class></coverage>",
            "without number",
        ),
        (b"<coverage/>" + b" " * (17 << 20), "more than"),
    ],
    ids=["empty", "other", "cut off", "entity", "internal", "two", "no hits", "large"],
)
def test_what_is_no_coverage_report_is_refused(data: bytes, said: str) -> None:
    """As the tests' own report."""
    with pytest.raises(TestsFailed, match=said):
        read_coverage(data)
