"""How something is brought onto this machine: by one process at a time, with progress, and a log."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.part import Report, SandboxError, tail

REPORT_SECONDS = 5


@contextmanager
def only_one(lock: Path, *, part: str, report: Report) -> Iterator[None]:
    """Hold the lock; it falls with the process, however that ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(part, "another process is at it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_reported(
    command: Sequence[str],
    *,
    part: str,
    doing: str,
    log: Path,
    env: Mapping[str, str],
    report: Report,
    cwd: Path | None = None,
    dies_with_us: bool = True,
) -> float:
    """Run it to its end, with a line every few seconds; returns the seconds. A failure raises with the log's end.

    `dies_with_us`: a SIGKILL of this process ends the program too. Not for what must not be torn, as dpkg.
    """
    begin = time.monotonic()
    mortal = ["setpriv", "--pdeathsig", "KILL"] if dies_with_us else []
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*mortal, *command], cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    while (code := _wait(process)) is None:
        report(part, f"{doing} … {time.monotonic() - begin:.0f} s")
    if code != 0:
        raise SandboxError(f"{part}: {doing} failed with exit code {code}\n{tail(log)}")
    return time.monotonic() - begin


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(REPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    except BaseException:
        process.terminate()
        process.wait()
        raise
