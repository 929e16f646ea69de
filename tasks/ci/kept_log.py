"""What a build or a component's tests print, whole, as a compressed file on CI's host: a page shows only some of it."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from interlock.ci.host import CiHost
from tasks.common.redaction import redacted

_LINE = 10_000
"""Characters of a line that are kept."""

Keep = Callable[[str], None]


@dataclass(frozen=True)
class LogPlace:
    """Where a log goes. `most_bytes` of it are kept, before it is compressed; `most_files` stay in its folder."""

    path: Path
    most_bytes: int
    most_files: int


def log_place(host: CiHost, *, repository: str, component: str, commit: str, what: str) -> LogPlace:
    folder = host.state / "logs" / repository.replace("/", "%2F") / component
    return LogPlace(folder / f"{commit[:12]}-{what}.log.gz", host.log_mib << 20, host.logs_kept)


@contextlib.contextmanager
def keeping(place: LogPlace | None) -> Iterator[Keep]:
    """Takes lines, in which secrets that are known are masked. The file is there when the block ends, however it does.

    What a killed process leaves has a name of its own, which the next log of the same place takes again.
    """
    if place is None:
        yield lambda _: None
        return
    place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = place.path.with_suffix(".unfinished")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
            yield _Bounded(file, place.most_bytes).add
    finally:
        unfinished.replace(place.path)
        _forget_old(place)


class _Bounded:
    def __init__(self, file: gzip.GzipFile, most_bytes: int) -> None:
        self._file, self._left = file, most_bytes

    def add(self, line: str) -> None:
        if self._left <= 0:
            return
        text = f"{redacted(line)[:_LINE]}\n".encode(errors="replace")
        self._left -= len(text)
        self._file.write(text if self._left > 0 else b"the log goes on; the rest is not kept\n")


def _forget_old(place: LogPlace) -> None:
    newest = sorted(place.path.parent.glob("*.log.gz"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for old in newest[place.most_files :]:
        old.unlink(missing_ok=True)
