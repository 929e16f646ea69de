"""The kernel's filter lets through what computing needs, on each machine, and nothing that looks like it."""

from __future__ import annotations

import struct

import pytest

from tasks.common import seccomp

PROCESS = 257
"""Which is a system call's number too: `openat` on x86-64."""
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
OPEN_AND_RUN = {
    "x86_64": (2, 257, 437, 59, 322, 56, 57, 435, 41, 62, 101),
    "aarch64": (56, 437, 221, 281, 220, 435, 198, 129, 117),
}


def judged(name: str, call: int, *, machine: int | None = None, argument: int = 0) -> int:
    """What the filter says of a call, as the kernel runs it."""
    known = seccomp._MACHINES[name]
    memory = {0: call, 4: known.name if machine is None else machine, 16: argument}
    steps = [struct.unpack("=HBBI", each) for each in seccomp._steps(known, PROCESS)]
    at = loaded = 0
    while True:
        code, yes, no, value = steps[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            loaded, skipped = memory[value], 0
        else:
            skipped = yes if (loaded == value if code == 0x15 else loaded >= value) else no
        at += 1 + skipped


@pytest.mark.parametrize("name", seccomp._MACHINES)
def test_only_what_computing_needs_is_let_through(name: str) -> None:
    """Each call of the list, and of all others up to the newest none, whatever the process's own number is."""
    known = seccomp._MACHINES[name]
    allowed = {call for call in range(1 << 10) if judged(name, call) == ALLOW}

    assert allowed == set(known.calls) and len(allowed) == len(known.calls) == 27
    assert not allowed & set(OPEN_AND_RUN[name])
    assert all(judged(name, call) == REFUSE for call in OPEN_AND_RUN[name])


@pytest.mark.parametrize("name", seccomp._MACHINES)
def test_a_signal_reaches_only_the_process_itself(name: str) -> None:
    """`abort` works, and nobody else is hit."""
    signal = seccomp._MACHINES[name].signal

    assert judged(name, signal, argument=PROCESS) == ALLOW
    assert judged(name, signal, argument=PROCESS + 1) == REFUSE


@pytest.mark.parametrize("name", seccomp._MACHINES)
def test_other_interfaces_of_the_machine_are_no_way_round(name: str) -> None:
    """Calls of another architecture end the process, and x32's are refused: their numbers mean other calls."""
    assert judged(name, 0, machine=0x40000003) == KILL
    assert judged(name, 0x40000000) == REFUSE and judged(name, 0xFFFFFFFF) == REFUSE
