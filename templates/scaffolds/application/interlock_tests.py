"""Run unittest's tests and leave a JUnit report: python tests/interlock_tests.py tests REPORT. Standard library only.

Written once by `interlock init application`; it is yours now.
"""

from __future__ import annotations

import html
import sys
import time
import unittest
from pathlib import Path


class Recorder(unittest.TextTestResult):
    """Remembers how each test ended, for the report."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.cases = []
        self.counts = {"failure": 0, "error": 0, "skipped": 0}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.began = time.monotonic()

    def case(self, test: unittest.TestCase, outcome: str = "", text: str = "", message: str = "") -> None:
        group, _, name = test.id().rpartition(".")
        seconds = time.monotonic() - getattr(self, "began", time.monotonic())
        within = ""
        if outcome:
            self.counts[outcome] += 1
            brief = (message or text).strip().partition("\n")[0]
            within = f'<{outcome} message="{_xml(brief)}">{_xml(text)}</{outcome}>'
        case = f'<testcase classname="{_xml(group)}" name="{_xml(name)}" time="{seconds:.3f}">{within}</testcase>'
        self.cases.append(case)

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.case(test)

    def addFailure(self, test: unittest.TestCase, err: tuple) -> None:
        super().addFailure(test, err)
        self.case(test, "failure", self.failures[-1][1], f"{err[0].__name__}: {err[1]}")

    def addError(self, test: unittest.TestCase, err: tuple) -> None:
        super().addError(test, err)
        self.case(test, "error", self.errors[-1][1], f"{err[0].__name__}: {err[1]}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.case(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addExpectedFailure(test, err)
        self.case(test)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self.case(test, "failure", "succeeded, and was expected to fail")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.case(subtest, "failure", "a subtest failed")

    def write(self, path: Path) -> None:
        failures, errors, skipped = self.counts.values()
        counts = f'tests="{len(self.cases)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
        lines = [f'<testsuite name="unittest" {counts}>', *self.cases, "</testsuite>", ""]
        path.write_text("\n".join(lines), encoding="utf-8")


def _xml(text: str) -> str:
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else "?" for c in text))


def main(folder: str, report: str) -> int:
    sys.path.insert(0, str(Path.cwd()))
    # Only a package can be found from above; a plain folder of tests is its own top.
    top = "." if Path(folder, "__init__.py").exists() else folder
    tests = unittest.defaultTestLoader.discover(folder, top_level_dir=top)
    result = unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(tests)
    result.write(Path(report))
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
