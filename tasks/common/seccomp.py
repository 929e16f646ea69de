"""A filter in the kernel by which this process can compute, read and write what is open, and end: nothing else.

Limits on files and children do not hold a process back that closes its stdin and opens another file in its place, nor
any process of root. Linux's seccomp does, for good: what is not on the list fails with EPERM.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from dataclasses import dataclass

_NO_NEW_PRIVILEGES = 38
_SET_SECCOMP = 22
_FILTER = 2
_KILL = 0x80000000
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | 1  # EPERM
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32 = 0x40000000
"""From here on x86-64 has the calls of another interface."""


@dataclass(frozen=True)
class _Machine:
    """The kernel's name of it, and its numbers of system calls."""

    name: int
    calls: tuple[int, ...]
    signal: int
    """tgkill, which `abort` needs: allowed for this process itself."""


# read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, mremap,
# madvise, getpid, gettid, exit, exit_group, futex, sched_yield, clock_gettime, clock_nanosleep, getrandom,
# sigaltstack, gettimeofday, getrusage, restart_syscall
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        (
            *(0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 25, 28),
            *(39, 186, 60, 231, 202, 24, 228, 230, 318, 131, 96, 98, 219),
        ),
        signal=234,
    ),
    "aarch64": _Machine(
        0xC00000B7,
        (
            *(63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 216, 233),
            *(172, 178, 93, 94, 98, 124, 113, 115, 278, 132, 169, 165, 128),
        ),
        signal=131,
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def only_compute() -> None:
    """Install the filter. OSError when the kernel does not take it; nothing happens on what is not 64-bit Linux."""
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
    if machine is None:
        return
    steps = _steps(machine, os.getpid())
    program = _Program(len(steps), b"".join(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")


def _steps(machine: _Machine, process: int) -> list[bytes]:
    """In the kernel's language: jumps count the steps that they leave out."""
    allowed = len(machine.calls)
    return [
        _step(_LOAD, _MACHINE_AT),
        _step(_IF_EQUAL, machine.name, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_IF_AT_LEAST, _X32, yes=allowed + 3),
        *(_step(_IF_EQUAL, call, yes=allowed - at + 3) for at, call in enumerate(machine.calls)),
        _step(_IF_EQUAL, machine.signal, no=2),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_IF_EQUAL, process, yes=1),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
