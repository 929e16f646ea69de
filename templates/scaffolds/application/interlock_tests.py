"""Run unittest's tests and leave a JUnit report: python tests/interlock_tests.py tests REPORT. Standard library only.

Written once by `interlock init application`; it is yours now.
"""

from __future__ import annotations

import sys
import time
import unittest
from pathlib import Path
from xml.etree import ElementTree


class Recorder(unittest.TextTestResult):
    """Remembers how each test ended, for the report."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.suite = ElementTree.Element("testsuite", name="unittest")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.began = time.monotonic()

    def case(self, test: unittest.TestCase, outcome: str = "", text: str = "", message: str = "") -> None:
        group, _, name = test.id().rpartition(".")
        seconds = time.monotonic() - getattr(self, "began", time.monotonic())
        case = ElementTree.SubElement(self.suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}")
        if outcome:
            readable = _readable(text)
            brief = _readable(message or text).strip().partition("\n")[0]
            ElementTree.SubElement(case, outcome, message=brief).text = readable

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
        for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            self.suite.set(attribute, str(len(self.suite.findall(f"testcase/{element}"))))
        self.suite.set("tests", str(len(self.suite)))
        ElementTree.ElementTree(self.suite).write(path, encoding="utf-8", xml_declaration=True)


def _readable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


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
