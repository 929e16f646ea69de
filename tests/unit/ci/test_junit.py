"""JUnit reports from containers that nobody trusts."""

from __future__ import annotations

import pytest

from interlock.ci.junit import FailedCase, TestRun, joined, read_report
from interlock.contract.canonical import digest
from interlock.errors import TestsFailed

REPORT = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.shop" name="test_price" time="0.5"/>
<testcase classname="tests.shop" name="test_tax" time="0.25"><failure message="1 != 2">trace</failure></testcase>
<testcase classname="tests.shop" name="test_io" time="x"><error>no file</error></testcase>
<testcase name="test_slow"><skipped/></testcase>
</testsuite></testsuites>"""


def test_cases_are_read_by_outcome() -> None:
    """Names with their class, messages from attribute or text, seconds summed."""
    report = read_report(REPORT)

    assert report.passed == ("tests.shop.test_price",)
    assert report.failed == (
        FailedCase("tests.shop.test_tax", "1 != 2"),
        FailedCase("tests.shop.test_io", "no file"),
    )
    assert report.skipped == ("test_slow",)
    assert report.seconds == 0.75
    assert report.digest == digest(REPORT)
    assert report.summary == "1 passed, 2 failed, 1 skipped"


def of(text: str, code: int | None = 0, **more: object) -> TestRun:
    return TestRun(code, read_report(text.encode()), **more)  # type: ignore[arg-type]


GOOD, BAD = (
    "<testsuite><testcase name='a'/></testsuite>",
    "<testsuite><testcase name='b'><failure/></testcase></testsuite>",
)


def test_several_commands_pass_when_each_passes() -> None:
    """Zero cases, a missing report or a failure of one is not hidden by the others."""
    good, bad = of(GOOD, seconds=1.0), of(BAD, 1, log=("bad",))

    both = joined(good, {"slow": of(GOOD, seconds=2.0)})
    assert both.problems == ()
    assert both.report is not None
    assert both.report.passed == ("a", "slow: a")
    assert both.seconds == 3.0
    assert joined(good, {}) is good
    assert joined(good, {"slow": bad}).problems == ("slow: b failed: no message",)
    assert joined(good, {"slow": bad}).log == ("bad",)
    assert joined(bad, {"slow": good}).problems == ("b failed: no message",)
    assert joined(good, {"slow": of("<testsuite/>")}).problems == ("slow: no test ran (0 passed, 0 failed, 0 skipped)",)
    assert joined(good, {"slow": TestRun(None, trouble="stopped")}).problems == ("slow: stopped",)
    assert "exit code 3" in joined(good, {"slow": of(GOOD, 3)}).problems[0]


def test_a_single_suite_may_be_the_root() -> None:
    """Both forms are in use."""
    assert read_report(b"<testsuite><testcase name='a'/></testsuite>").passed == ("a",)


def test_failures_without_a_case_count() -> None:
    """A suite that could not be set up names no case, and must not look as if all passed."""
    report = read_report(b"<testsuite name='shop' errors='1'><testcase name='a'/></testsuite>")

    assert report.failed == (FailedCase("shop", "counts 1 failures, and names 0"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<testsuites>",
        b"<html/>",
        b"\xff\xfe<\x00",
        b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase name="&a;"/></testsuite>',
        b'<?xml version="1.0"?><!doctype testsuite><testsuite/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x><testsuite/>'.encode("utf-16"),
        b"<testsuite>" + b"<a>" * 100_000,
        b"<testsuite/>" + b" " * (17 << 20),
    ],
    ids=["empty", "cut off", "html", "binary", "entity", "doctype", "utf-16", "deep", "large"],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    """No DOCTYPE in any encoding, so no entities; nothing too large; nothing that is not JUnit."""
    with pytest.raises(TestsFailed):
        read_report(data)


def test_many_failures_are_not_all_reasons() -> None:
    """Fifty lines, and how many more."""
    cases = b"".join(b"<testcase name='t%d'><failure message='no'/></testcase>" % n for n in range(60))

    problems = TestRun(1, read_report(b"<testsuite>" + cases + b"</testsuite>")).problems

    assert len(problems) == 51
    assert problems[-1] == "10 more failed"
