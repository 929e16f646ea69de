"""The freezes of this host: one file for each environment and cause in CD's state folder."""

from __future__ import annotations

import datetime as dt
import os
import re
from fnmatch import fnmatch
from pathlib import Path

from interlock.cd import freeze
from interlock.cd.freeze import Freeze
from interlock.errors import FormatError, HostConfigError
from tasks.common.whole_file import write_whole

_CAUSE = re.compile(r"[a-z]+(-[a-z]+)*")


def _folder(state: Path, environment: str) -> Path:
    return state / "freezes" / environment


def _path(state: Path, environment: str, cause: str) -> Path:
    if not _CAUSE.fullmatch(cause):
        raise ValueError(f"a cause has lowercase letters and dashes, not {cause!r}")
    return _folder(state, environment) / f"{cause}.json"


def put(state: Path, environment: str, *, cause: str, reason: str, hint: str = "") -> bool:
    """Freeze the environment for this cause; whether it was not frozen for it before. `since` stays the first time."""
    path = _path(state, environment, cause)
    before = next((each for each in read(state, environment) if each.cause == cause), None)
    since = before.since if before else dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = Freeze(cause, reason, since, hint)
    if found != before:
        write_whole(path, freeze.write(found))
    return before is None


def lift(state: Path, environment: str, *, cause: str) -> bool:
    """Whether it was frozen for this cause."""
    path = _path(state, environment, cause)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostConfigError(f"{path}: {error.strerror}", hint="CD's user must be able to write its state") from error
    return True


def read(state: Path, environment: str) -> tuple[Freeze, ...]:
    """All of an environment. What cannot be read freezes too."""
    found = []
    folder = _folder(state, environment)
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - the methods of Path pass over what may not be read
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (Freeze("unreadable", f"{folder}: {error.strerror}", "unknown", "CD's user must be able to read it"),)
    for path in (folder / name for name in names if fnmatch(name, "[a-z]*.json")):
        try:
            found.append(freeze.read(path.read_bytes(), path=str(path)))
        except FileNotFoundError:
            continue  # lifted at this moment
        except (FormatError, OSError) as error:
            found.append(Freeze(path.stem, f"{path} cannot be read: {error}", "unknown", f"look at it, then rm {path}"))
    return tuple(found)
