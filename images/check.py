"""What one half's image must hold and must not hold, found out inside it; leaves a JUnit report."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unittest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import quoteattr

HALF = sys.argv.pop() if sys.argv[-1] in ("ci", "cd") else "ci"
OTHERS = {"ci": ("kubernetes", "tasks.cd", "flows.cd"), "cd": ("docker", "tasks.ci", "flows.ci")}
"""What the half may not have: the other's SDK; and what it has, being one wheel, but could not load."""
ENTRY = {"ci": "flows.ci.release", "cd": "flows.cd.deploy"}
PROGRAMS = {"ci": ("git", "trivy", "bandit", "setpriv", "prlimit", "unshare", "tini"), "cd": ("git", "tini")}
REPORT = Path("/tmp/junit.xml")  # noqa: S108 - in the container


class Image(unittest.TestCase):
    def test_the_other_halfs_sdk_is_not_there(self) -> None:
        self.assertIsNone(find_spec(OTHERS[HALF][0]))

    def test_its_own_half_loads(self) -> None:
        import_module(ENTRY[HALF])

    def test_the_other_half_does_not_load(self) -> None:
        self.assertRaises(ImportError, import_module, {"ci": "tasks.cd.cluster", "cd": "tasks.ci.images"}[HALF])

    def test_every_program_that_it_starts_is_there(self) -> None:
        self.assertEqual([name for name in PROGRAMS[HALF] if shutil.which(name) is None], [])

    def test_nobody_is_root(self) -> None:
        self.assertNotEqual(os.getuid(), 0)

    def test_the_command_answers(self) -> None:
        subprocess.run(["interlock", "version"], check=True, capture_output=True, timeout=60)


class Result(unittest.TextTestResult):
    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.said: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        self.said[test.id()] = ""

    def stopTestRun(self) -> None:  # noqa: N802 - unittest's name
        super().stopTestRun()
        for test, trace in (*self.failures, *self.errors):
            self.said[test.id()] = f"<failure message={quoteattr(trace.strip().splitlines()[-1])}/>"
        cases = "".join(f"<testcase name={quoteattr(name)}>{body}</testcase>" for name, body in self.said.items())
        REPORT.write_text(f"<testsuite name={quoteattr(f'interlock-{HALF}')}>{cases}</testsuite>")


if __name__ == "__main__":
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2))
