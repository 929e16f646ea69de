"""A process that has imported everything, and becomes one child for each run: imports take seconds, a fork does not.

It talks over one SOCK_SEQPACKET socket. In comes `<number> <what to run>`; out go `<number> born <process id>` from the
child itself, once it leads a process group of its own, and `<number> ended <status>`, where a negative status is a
signal. The end of the other side ends it; children under way go on.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import threading
from dataclasses import dataclass

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
    gc.freeze()  # what was imported is shared with the children, as long as no collection writes into it
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.data, _Running):
                    selector.unregister(key.fileobj)
                    _tell_end(control, key.fd, key.data)
                    continue
                number, _, line = control.recv(MOST_BYTES).decode().partition(" ")
                if not line:
                    return None
                if (pid := os.fork()) == 0:
                    _be_born(control, number)
                    return line
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, _Running(number, pid))


def _be_born(control: socket.socket, number: str) -> None:
    # A session of its own: Ctrl-C reaches the worker alone, which then ends the child and what it started.
    os.setsid()
    control.send(f"{number} born {os.getpid()}".encode())
    control.close()


def _tell_end(control: socket.socket, pidfd: int, run: _Running) -> None:
    os.close(pidfd)
    _, status = os.waitpid(run.pid, 0)
    control.send(f"{run.number} ended {os.waitstatus_to_exitcode(status)}".encode())
