"""A process that has imported everything, and becomes one child for each run: imports take seconds, a fork does not.

It talks over one SOCK_SEQPACKET socket. In comes `<number> <what to run>`; out go `<number> born <process id>` from the
child itself, once it leads a process group of its own, and `<number> ended <status>`, where a negative status is a
signal. The end of the other side ends it; children under way go on.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 4096
"""Of one message."""


@dataclass(frozen=True)
class _Running:
    number: str
    pid: int


def next_run(control: socket.socket) -> str | None:
    """Returns in every child, with what it is to run; in the parent None, when nobody will ask any more."""
    if (threads := threading.active_count()) != 1:
        raise RuntimeError(f"{threads} threads run: a fork would copy their locks, and not them")
    # Who stops a service signals all of its processes: the runs clean up then, and their parent must outlive them.
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDINGS}
    gc.freeze()  # what was imported is shared with the children, as long as no collection writes into it
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.data, _Running):
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    _tell_end(control, key.data)
                    continue
                number, _, line = control.recv(MOST_BYTES).decode().partition(" ")
                if not line:
                    return None
                if (pid := _fork(control, number)) == 0:
                    _forget_others(selector)
                    _be_born(control, number, former)
                    return line
                if pid is not None:
                    _watch(selector, control, _Running(number, pid))


_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_Handlers = Mapping[signal.Signals, Any]


def _fork(control: socket.socket, number: str) -> int | None:
    """0 in the child; None when the machine has no process left, which must not end the runs under way."""
    try:
        return os.fork()
    except OSError as error:
        sys.stderr.write(f"no process for a run: {error}\n")
        control.send(f"{number} ended 1".encode())
        return None


def _watch(selector: selectors.BaseSelector, control: socket.socket, run: _Running) -> None:
    try:
        pidfd = os.pidfd_open(run.pid)
    except OSError as error:
        sys.stderr.write(f"a run cannot be watched, and is ended: {error}\n")
        os.kill(run.pid, signal.SIGKILL)
        _tell_end(control, run)
    else:
        selector.register(pidfd, selectors.EVENT_READ, run)


def _forget_others(selector: selectors.BaseSelector) -> None:
    """A run holds nothing by which another one could be reached."""
    for key in selector.get_map().values():
        if isinstance(key.data, _Running):
            os.close(key.fd)


def _be_born(control: socket.socket, number: str, handlers: _Handlers) -> None:
    # A session of its own: Ctrl-C reaches the worker alone, which then ends the child and what it started.
    os.setsid()
    for ending, handler in handlers.items():
        signal.signal(ending, handler)
    control.send(f"{number} born {os.getpid()}".encode())
    control.close()


def _tell_end(control: socket.socket, run: _Running) -> None:
    _, status = os.waitpid(run.pid, 0)
    control.send(f"{run.number} ended {os.waitstatus_to_exitcode(status)}".encode())
