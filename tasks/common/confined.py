"""Other people's programs, however tame, run in a process that can do nothing but compute: its two sides.

`ask` starts it and hears its one answer; `confine` is what the process does to itself before it reads the request.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from interlock.errors import ToolError
from tasks.common.seccomp import only_compute

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 10
TOO_MUCH = "too much"
"""What a process may answer when its memory does not suffice and it lives to say so."""
_STANDARD_STREAMS = 3
_EXHAUSTED = -6, -9, -24  # SIGABRT, SIGKILL, SIGXCPU


@dataclass(frozen=True)
class Answer:
    """What the process said. `exhausted`: it was stopped, as it took too much time or memory."""

    text: str
    said: str
    exhausted: bool = False


def ask(command: Sequence[str], request: str, *, name: str, seconds: float) -> Answer:
    """One request to a process with an empty environment. ToolError when it does not start or breaks."""
    try:
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        return Answer("", (error.stderr or b"").decode(errors="replace"), exhausted=True)
    except OSError as error:
        raise ToolError(f"{name} did not start: {error}", transient=True) from error
    if done.returncode in _EXHAUSTED:
        return Answer("", done.stderr, exhausted=True)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or "it said nothing"
        raise ToolError(f"{name} ended with {done.returncode}: {reason}")
    return Answer(done.stdout, done.stderr, exhausted=done.stdout == TOO_MUCH)


def confine() -> None:
    """Take from this process what computing does not need: files, network, children, and much time or memory."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _STANDARD_STREAMS),
    ):
        resource.setrlimit(kind, (most, most))
    only_compute()
