"""Runs that die by SIGKILL, each in a process that is forked from one that has imported all: imports take seconds."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.cluster.killed", "tests.docker.killed"])


def exit_code(run: Callable[..., None], *arguments: str, seconds: float = 120) -> int | None:
    """How it ended, negative for a signal; None when it did not end in time."""
    return ended(started(run, *arguments), seconds=seconds)


def started(run: Callable[..., None], *arguments: str) -> BaseProcess:
    process = _FORKING.Process(target=run, args=arguments)
    process.start()
    return process


def ended(process: BaseProcess, *, seconds: float = 120) -> int | None:
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def stand_still() -> None:
    """Stop this process (SIGSTOP) here: nothing behind this line runs before it is told to go on.

    A signal to the process may reach another thread first, and this one runs on meanwhile; one to this thread does not.
    """
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
