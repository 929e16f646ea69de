"""What every part of the sandbox can do, and how it runs its programs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class SandboxError(Exception):
    """A part could not be found, built, started or stopped. The message names it and says what to do."""


class Report(Protocol):
    """Where a part says what it is doing; the terminal shows it as a progress line with elapsed seconds."""

    def __call__(self, part: str, message: str) -> None: ...


class Part(Protocol):
    """One real part.

    `provide` runs once, before any part starts, outside the sandbox's namespaces: it finds what the part needs
    or builds it into the cache, safe to be killed and run again, and safe beside another process doing the same.
    `start` runs inside the sandbox's own PID and mount namespaces and returns at once.
    `wait` returns when the part answers, or raises SandboxError with the log's last lines.
    `stop` may be called at any time, twice, and after a crash. `sweep` removes what a killed sandbox left
    on the machine outside its namespaces (links, routes, control groups); it needs no running part.
    """

    name: str
    needs: Sequence[str]  # names of the parts that must answer before this one starts
    log: Path

    def provide(self, report: Report) -> None: ...
    def start(self) -> None: ...
    def wait(self, seconds: float) -> None: ...
    def stop(self) -> None: ...
    def sweep(self) -> None: ...


class Unstarted:
    """What a part has in common with others that no program runs for: it is in the cache, and answers when it is."""

    def start(self) -> None:
        """Nothing runs."""

    def wait(self, seconds: float) -> None:
        """Provided is there."""

    def stop(self) -> None:
        """Nothing runs."""

    def sweep(self) -> None:
        """The cache is every sandbox's."""


@dataclass
class Daemon:
    """A long-running program with a log. Its own process group, so that stopping it reaches its children."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        groups: Sequence[int] = (),
    ) -> None:
        """Start it. With `user`, it runs as that user and group id with just these extra groups."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env) if env is not None else clean_environment(),
                cwd=cwd,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=list(groups) if user is not None else None,
            )

    def check(self) -> None:
        """Raise SandboxError with the log's end when the program has ended by itself."""
        if self.process is not None and (code := self.process.poll()) is not None:
            raise SandboxError(f"{self.name}: ended with exit code {code}\n{tail(self.log)}")

    def stop(self, *, seconds: float = 5) -> None:
        """Ask, then kill, the whole process group."""
        process, self.process = self.process, None
        if process is None:
            return
        signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def wait_until(
    answers: Callable[[], bool], *, subject: str, seconds: float, daemon: Daemon | None = None, log: Path | None = None
) -> None:
    """Ask every 50 ms until it answers; a daemon that ended, or the deadline, raises with the log's end."""
    deadline = time.monotonic() + seconds
    while not answers():
        if daemon is not None:
            daemon.check()
        if time.monotonic() > deadline:
            path = log or (daemon.log if daemon else None)
            raise SandboxError(f"{subject}: no answer in {seconds:g} s" + (f"\n{tail(path)}" if path else ""))
        time.sleep(0.05)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, with its path, for an error message."""
    if not log.exists():
        return f"(no log at {log})"
    return f"--- {log} ---\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def clean_environment(**extra: str) -> dict[str, str]:
    """What a part's program inherits: a path and a language, no credentials or proxies of the person who starts it."""
    keep = {key: os.environ[key] for key in ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR") if key in os.environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **keep, **extra}
