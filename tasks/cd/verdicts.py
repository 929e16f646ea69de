"""Where verdicts are kept: a file for each environment in CD's state folder, which may be lost at any time."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from interlock.cd import verdicts as form
from interlock.cd.verdicts import Verdicts
from tasks.common.code import digest_of
from tasks.common.whole_file import write_whole


def code() -> str:
    """Which code judges."""
    return digest_of(Path(form.__file__).parent, Path(__file__).parent)


def path(state: Path, environment: str) -> Path:
    return state / "verdicts" / f"{environment}.json"


def read(file: Path | None, *, ground: str) -> Verdicts:
    """None without a file, or when what is there does not count any more."""
    data = b""
    if file:
        with suppress(OSError):
            data = file.read_bytes()
    return form.read(data, ground=ground, now=time.time())


def write(file: Path | None, verdicts: Verdicts) -> None:
    """Whole or not at all; a disk that is full costs the next plan its time, nothing else."""
    if file is None:
        return
    with suppress(OSError):
        write_whole(file, form.write(verdicts))
