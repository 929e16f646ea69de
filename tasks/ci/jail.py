"""Where scanners run: an empty folder, an empty environment, no network, no privileges, limits, and a certain end.

A scanner reads what strangers wrote. It gets no file of ours but those that it is given, nothing that we inherited,
and no way out but its output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from interlock.errors import ScanFailed
from tasks.common.stopping import stopped_by

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_REPORT_BYTES = 512 << 20
_MOST_FILE_BYTES = 8 << 30
_MOST_MEMORY_BYTES = 4 << 30
_QUOTED = 800
_NAMESPACES = ("--net", "--ipc")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder that nobody else may write to."""
    with tempfile.TemporaryDirectory(prefix="interlock-scan-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run(
    name: str,
    argv: Sequence[str],
    folder: Path,
    *,
    seconds: int,
    environment: Mapping[str, str] | None = None,
    network: bool = False,
) -> bytes:
    """Run a program in a scratch folder, and give what it printed.

    `environment` is all that it has beside a plain PATH, HOME and TMPDIR. Every ending but exit code 0 in time, and
    every report that is too long, is ScanFailed. Nothing that it started runs afterwards.
    """
    own = {"PATH": _SYSTEM_PATH, "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}
    confined = (*(() if network else isolation()[0]), *_limits(network=network), *argv)
    with (folder / "output").open("w+b") as output, (folder / "errors").open("w+b") as errors:
        process = _start(name, confined, folder, own | dict(environment or {}), (output.fileno(), errors.fileno()))
        code = _wait(name, process, seconds)
        errors.seek(0)
        said = errors.read(1 << 16).decode(errors="replace").strip()[-_QUOTED:]
        if code < 0:
            killed = signal.Signals(-code).name
            raise ScanFailed(
                f"{name} was killed ({killed}){': ' + said if said else ''}",
                hint="is this host short of memory? its kernel's log says who killed it",
                transient=True,
            )
        if code != 0:
            raise ScanFailed(f"{name} ended with exit code {code}: {said or 'it said nothing'}")
        output.seek(0)
        report = output.read(_MOST_REPORT_BYTES + 1)
    if len(report) > _MOST_REPORT_BYTES:
        raise ScanFailed(f"{name}: its report is larger than {_MOST_REPORT_BYTES >> 20} MiB")
    return report


def _start(
    name: str, argv: Sequence[str], folder: Path, environment: dict[str, str], streams: tuple[int, int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise ScanFailed(f"{name} cannot be started: {error}") from error


def _wait(name: str, process: subprocess.Popen[bytes], seconds: int) -> int:
    """The exit code. The whole process group is gone afterwards, and if we are killed, so is the program."""
    try:
        with stopped_by(process.kill):
            return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise ScanFailed(f"{name.partition(' ')[0]} was stopped after {seconds} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _limits(*, network: bool) -> tuple[str, ...]:
    """`setpriv` ends the program with the thread that started it; `prlimit` keeps a runaway from filling the host.

    Root keeps of its powers only that to read, since database and files may belong to others.
    """
    bound = ("--bounding-set=-all,+dac_read_search", "--inh-caps=-all") if os.geteuid() == 0 and not network else ()
    return (
        *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", *bound),
        *("prlimit", f"--fsize={_MOST_FILE_BYTES}", f"--data={_MOST_MEMORY_BYTES}", "--core=0"),
    )


@lru_cache(maxsize=1)
def isolation() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to put before a command so that it has no network, and what to tell people if that is not possible here."""
    for prefix in (("unshare", *_NAMESPACES), ("unshare", "--map-current-user", *_NAMESPACES)):
        tried = subprocess.run((*prefix, "true"), capture_output=True, check=False, env={"PATH": _SYSTEM_PATH})
        if tried.returncode == 0:
            return (*prefix, "--"), ()
    return (), ("scanned by a program that could reach the network, since this host allows no network namespaces",)
