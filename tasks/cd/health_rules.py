"""Health rules in CEL, judged in a process of their own: an expression of few characters can need any memory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from interlock.contract.health import HealthRule, HealthRules, Verdict
from interlock.errors import ToolError

COMMAND = (sys.executable, "-I", "-m", "tasks.common.health_child")
SECONDS = 20.0
"""How long one answer may take, the start of the process included."""
_MOST_ANSWER = 1 << 16


class Apart:
    """All rules of a repository. The process is started when the first object is judged, and ends with this value.

    What it is asked about while it breaks is judged once more by a new one, whose limits are unspent.
    """

    def __init__(self, rules: HealthRules) -> None:
        self._rules = rules
        self._child: subprocess.Popen[bytes] | None = None

    def of(self, group: str, kind: str) -> JudgedApart | None:
        rule = self._rules.of(group, kind)
        return JudgedApart(rule, self) if rule else None

    def judge(self, rule: HealthRule, body: Mapping[str, object]) -> Verdict:
        try:
            request = json.dumps({"rule": asdict(rule), "body": body}).encode() + b"\n"
        except RecursionError:
            return Verdict("unknown", "it is nested too deeply to be judged")
        for _ in range(2):
            if answer := self._asked(request):
                state, reason = json.loads(answer)
                return Verdict(state, reason)
        return Verdict("unknown", f"the rule {rule.name} takes too much time or memory")

    def _asked(self, request: bytes) -> bytes:
        """The answer; nothing when the process broke or was too slow: it is none of ours then."""
        child = self._child or self._started()
        assert child.stdin is not None  # noqa: S101 - both are pipes
        assert child.stdout is not None  # noqa: S101
        answer = b""
        with suppress(OSError):
            child.stdin.write(request)
            child.stdin.flush()
            waiting = select.poll()
            waiting.register(child.stdout, select.POLLIN)
            if waiting.poll(SECONDS * 1000):
                answer = os.read(child.stdout.fileno(), _MOST_ANSWER)
        if not answer.endswith(b"\n"):
            _end(child)
            self._child = None
            return b""
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            child = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
            )
        except OSError as error:
            raise ToolError(f"the process that judges health did not start: {error}", transient=True) from error
        self._child = child
        weakref.finalize(self, _end, child)
        return child


@dataclass(frozen=True)
class JudgedApart:
    """One rule, judged there."""

    rule: HealthRule
    apart: Apart

    def judge(self, body: Mapping[str, object]) -> Verdict:
        return self.apart.judge(self.rule, body)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Take it away, whatever it does."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with suppress(OSError):  # what was not written is of no use any more
                pipe.close()
