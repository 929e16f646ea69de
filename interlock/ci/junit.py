"""A JUnit report from a container that nobody trusts, and what a run of tests comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from xml.etree import ElementTree

from interlock.ci.coverage import Coverage
from interlock.ci.untrusted_xml import read_xml
from interlock.contract.canonical import canonical, digest
from interlock.errors import TestsFailed

MOST_CASES = 50_000
_MESSAGE = 2000
_REPORTED = 50


@dataclass(frozen=True)
class FailedCase:
    name: str
    message: str


@dataclass(frozen=True)
class TestReport:
    """The cases of one JUnit report by outcome, in the report's order. `failed` has failures and errors."""

    __test__ = False

    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[FailedCase, ...]
    seconds: float
    digest: str
    """Of the report's bytes."""

    @property
    def summary(self) -> str:
        return f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


@dataclass(frozen=True)
class TestRun:
    """What came of running a component's tests in its image."""

    __test__ = False

    exit_code: int | None
    """None: the tests did not end by themselves."""
    report: TestReport | None = None
    trouble: str = ""
    """Why there is no report, or why the tests were stopped."""
    log: tuple[str, ...] = ()
    """The last lines that the tests printed."""
    seconds: float = 0.0
    coverage: Coverage | None = None
    services: tuple[str, ...] = ()
    """The images, by digest, of what ran beside the tests."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps the run from counting as passed."""
        return tuple(_problems(self))


def joined(first: TestRun, more: Mapping[str, TestRun]) -> TestRun:
    """What several commands come to: passed when each has passed by itself. Cases of further ones have their name."""
    if not more:
        return first
    runs = {"": first, **more}
    troubles = [f"{name}: {each}" if name else each for name, run in runs.items() for each in _troubles(run)]
    worst = next((run for run in runs.values() if run.problems), first)
    reports = {name: run.report for name, run in runs.items() if run.report}
    return replace(
        worst,
        report=_joined_reports(reports) if len(reports) == len(runs) else None,
        trouble="; ".join(troubles),
        coverage=first.coverage,
        seconds=sum(run.seconds for run in runs.values()),
    )


def _troubles(run: TestRun) -> tuple[str, ...]:
    """Its problems, but for the cases that failed, which are told one by one."""
    return run.problems if run.report is None or not run.report.failed else tuple(filter(None, (run.trouble,)))


def _joined_reports(reports: Mapping[str, TestReport]) -> TestReport:
    return TestReport(
        passed=tuple(f"{prefix}{name}" for prefix, one in _prefixed(reports) for name in one.passed),
        skipped=tuple(f"{prefix}{name}" for prefix, one in _prefixed(reports) for name in one.skipped),
        failed=tuple(
            replace(case, name=prefix + case.name) for prefix, one in _prefixed(reports) for case in one.failed
        ),
        seconds=sum(one.seconds for one in reports.values()),
        digest=digest(canonical({name: one.digest for name, one in reports.items()})),
    )


def _prefixed(reports: Mapping[str, TestReport]) -> list[tuple[str, TestReport]]:
    return [(f"{name}: " if name else "", one) for name, one in reports.items()]


def _problems(run: TestRun) -> Iterator[str]:
    if run.trouble:
        yield run.trouble
    if run.report is None:
        if not run.trouble:
            yield "there is no report"
        return
    if not run.report.passed and not run.report.failed:
        yield f"no test ran ({run.report.summary})"
    for case in run.report.failed[:_REPORTED]:
        yield f"{case.name} failed: {case.message.splitlines()[0][:200] if case.message else 'no message'}"
    if len(run.report.failed) > _REPORTED:
        yield f"{len(run.report.failed) - _REPORTED} more failed"
    if run.exit_code not in (0, None) and not run.report.failed:
        yield f"the test command ended with exit code {run.exit_code}, though no case failed"


def read_report(data: bytes) -> TestReport:
    """A report with `testsuites` or `testsuite` at its root; TestsFailed when it is not that."""
    root = read_xml(data, what="the JUnit report")
    if root.tag not in ("testsuites", "testsuite"):
        raise TestsFailed(f"the JUnit report begins with <{root.tag[:50]}>, not <testsuites> or <testsuite>")
    cases = list(root.iter("testcase"))
    if len(cases) > MOST_CASES:
        raise TestsFailed(f"the JUnit report has {len(cases)} cases, more than {MOST_CASES}")
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [(case, failure) for case in cases if (failure := _failed(case))]
    others = {id(case) for case in (*skipped, *(case for case, _ in failed))}
    return TestReport(
        passed=tuple(_name(case) for case in cases if id(case) not in others),
        skipped=tuple(_name(case) for case in skipped),
        failed=(*(failure for _, failure in failed), *_outside(root)),
        seconds=sum(_seconds(case) for case in cases),
        digest=digest(data),
    )


def _failed(case: ElementTree.Element) -> FailedCase | None:
    found = case.find("failure")
    found = case.find("error") if found is None else found
    if found is None:
        return None
    return FailedCase(_name(case), (found.get("message") or found.text or "").strip()[:_MESSAGE])


def _name(case: ElementTree.Element) -> str:
    parts = [part for part in (case.get("classname", ""), case.get("name", "")) if part]
    return ".".join(parts)[:300] or "a case without a name"


def _outside(root: ElementTree.Element) -> Iterator[FailedCase]:
    """Failures that a suite counts, but no case has: a suite that could not be set up."""
    for suite in root.iter("testsuite"):
        counted = _count(suite, "failures") + _count(suite, "errors")
        own = sum(1 for case in suite.iter("testcase") if _failed(case))
        if counted > own:
            yield FailedCase(suite.get("name", "a suite")[:300], f"counts {counted} failures, and names {own}")


def _count(suite: ElementTree.Element, name: str) -> int:
    text = suite.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _seconds(case: ElementTree.Element) -> float:
    try:
        return max(0.0, float(case.get("time", "0")))
    except ValueError:
        return 0.0
