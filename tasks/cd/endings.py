"""Where a host remembers how its runs ended: a file for each environment in CD's state folder, which may be lost."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from pathlib import Path

from interlock.cd import outlook
from interlock.cd.outlook import Ending
from interlock.errors import InterlockError
from tasks.common.whole_file import write_whole


def _path(state: Path, environment: str) -> Path:
    return state / "endings" / f"{environment}.json"


def note(state: Path, environment: str, commit: str, error: InterlockError) -> None:
    """Remember why a commit was not brought about. A disk that is full costs the memory, nothing else."""
    found = outlook.ending(commit, error, dt.datetime.now(dt.UTC))
    with suppress(OSError):
        write_whole(_path(state, environment), outlook.write(found))


def forget(state: Path, environment: str) -> None:
    """All went well."""
    with suppress(OSError):
        _path(state, environment).unlink(missing_ok=True)


def last(state: Path, environment: str) -> Ending | None:
    with suppress(OSError):
        return outlook.read(_path(state, environment).read_bytes())
    return None
