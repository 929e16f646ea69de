"""A tiny real service as an application repository: a Dockerfile, a module, unit tests that leave a JUnit report."""

from __future__ import annotations

DOCKERFILE = """\
FROM interlock.sandbox/python:3.11
COPY shop /app/shop
COPY tests /app/tests
WORKDIR /app
USER 10001
HEALTHCHECK CMD ["python", "-c", "import shop"]
ENTRYPOINT ["python", "-m", "shop"]
"""

INTERLOCK = """\
format: 1
components:
  web:
    tests:
      command: [python, -m, tests.run]
      timeout_seconds: 60
"""

RUN = """\
import sys, unittest
from xml.sax.saxutils import quoteattr

class Result(unittest.TextTestResult):
    def __init__(self, *args):
        super().__init__(*args)
        self.cases = []
    def addSuccess(self, test):
        super().addSuccess(test)
        self.cases.append((test.id(), ""))
    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.cases.append((test.id(), f"<failure message={quoteattr(str(error[1]))}/>"))
    def addError(self, test, error):
        super().addError(test, error)
        self.cases.append((test.id(), f"<error message={quoteattr(str(error[1]))}/>"))

suite = unittest.defaultTestLoader.discover("tests", pattern="test_*.py", top_level_dir=".")
result = unittest.TextTestRunner(resultclass=Result).run(suite)
cases = "".join(f"<testcase name={quoteattr(name)}>{body}</testcase>" for name, body in result.cases)
open("/tmp/junit.xml", "w").write(f"<testsuite name='shop'>{cases}</testsuite>")
sys.exit(not result.wasSuccessful())
"""

TEST = """\
import unittest
import shop

class Price(unittest.TestCase):
    def test_price(self):
        self.assertEqual(shop.price(2), 20)
"""


def files(changes: dict[str, str | None] | None = None) -> dict[str, bytes | None]:
    """The repository's files; `changes` replaces or, with None, removes some."""
    texts: dict[str, str | None] = {
        "interlock.yaml": INTERLOCK,
        "Dockerfile": DOCKERFILE,
        "shop/__init__.py": "def price(count):\n    return 10 * count\n",
        "shop/__main__.py": "import shop\nprint(shop.price(1))\n",
        "tests/__init__.py": "",
        "tests/run.py": RUN,
        "tests/test_price.py": TEST,
        **(changes or {}),
    }
    return {path: None if text is None else text.encode() for path, text in texts.items()}
