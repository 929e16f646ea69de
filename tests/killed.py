"""Runs that die by SIGKILL, each in a process that is forked from one that has imported all: imports take seconds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.cluster.killed", "tests.docker.killed"])


def exit_code(run: Callable[..., None], *arguments: str, seconds: float = 120) -> int | None:
    """How it ended, negative for a signal; None when it did not end in time."""
    process = _FORKING.Process(target=run, args=arguments)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    return process.exitcode
