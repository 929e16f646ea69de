"""Where verdicts are kept: a file for each environment in CD's state folder, which may be lost at any time."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from interlock.cd import verdicts as form
from interlock.cd.verdicts import Verdicts
from tasks.common.whole_file import write_whole


@lru_cache(maxsize=1)
def code() -> str:
    """Which code judges: CD's sources themselves, since what is being developed has no version of its own."""
    found = hashlib.sha256()
    for folder in (Path(form.__file__).parent, Path(__file__).parent):
        for module in sorted(folder.glob("*.py")):
            found.update(module.read_bytes())
    return found.hexdigest()


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
