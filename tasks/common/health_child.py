"""The process that says by rules in CEL how custom resources live: one request a line, one answer a line.

Run as `python -I -m tasks.common.health_child`. It needs no file, network or child process after its imports.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from interlock.contract.health import HealthRule, Verdict
from tasks.common.confined import confine

MOST_SAID = 500
"""Characters of a reason: an answer goes through a pipe in one piece."""


def main() -> None:
    """Until nobody asks any more."""
    HealthRule("warm-up", "", "", 'object.a.all(x, x == "")', message='"a"').judge({"a": ["b"]})
    confine()
    for line in sys.stdin:
        verdict = answer(json.loads(line))
        sys.stdout.write(json.dumps([verdict.state, verdict.reason[:MOST_SAID]]) + "\n")
        sys.stdout.flush()


def answer(request: dict[str, Any]) -> Verdict:
    rule = HealthRule(**request["rule"])
    try:
        return rule.judge(request["body"])
    except MemoryError:
        return Verdict("unknown", f"the rule {rule.name} needs too much memory")


if __name__ == "__main__":
    main()
