"""The process that judges by rules: limits itself, reads rules and objects from stdin, writes what is broken to stdout.

Run as `python -I -m tasks.common.judge_child`. It needs no file, network or child process after its imports. What it
begins with it names on stderr, so that a rule that takes too much is known by name.
"""

from __future__ import annotations

import json
import sys
from dataclasses import astuple

from interlock.contract.default_rules import DEFAULTS
from interlock.contract.rules import Rule, Subject, from_json, judge
from tasks.common.confined import TOO_MUCH, confine


def main() -> None:
    """One request, one answer."""
    _warm_up()
    confine()
    try:
        sys.stdout.write(_answer(sys.stdin.read()))
    except MemoryError:
        sys.stdout.write(TOO_MUCH)


def _warm_up() -> None:
    """Let CEL and Python load what they load at first use."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [{"ports": 1}]}}
    for _ in judge(DEFAULTS, [Subject(body, "", "")]):
        pass


def _answer(request: str) -> str:
    given = json.loads(request)
    subjects = [Subject(**each) for each in given["subjects"]]
    judged = judge(from_json(given["rules"]), subjects, begins=_announce)
    return json.dumps([(index, astuple(each)) for _, broken in judged for index, each in broken])


def _announce(rule: Rule) -> None:
    sys.stderr.write(f"{rule.name}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
