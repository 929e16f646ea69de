"""The host's clock, which only goes forward: a day that is over here does not come back."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from interlock.errors import ClockWrong
from tasks.common.whole_file import write_whole

TOLERANCE = dt.timedelta(minutes=1)
"""How far clocks may be apart, or be put back, before nothing that asks for the time is decided."""
_REMEMBERED = dt.timedelta(seconds=10)
"""What has gone by at least before the time is written down again."""


def now(state: Path) -> dt.datetime:
    """The time in UTC, never before one that this host has seen; ClockWrong when the clock lies a minute before it.

    So neither expired keys nor waivers nor approvals come back to life when somebody sets the clock back.
    """
    path, time = state / "clock", dt.datetime.now(dt.UTC)
    seen = _seen(path)
    if seen and time < seen - TOLERANCE:
        raise ClockWrong(
            f"this host's clock says {_written(time)}, and said {_written(seen)} before: it went back",
            hint=f"set it right; if it was wrong before, and is right now, remove {path}",
        )
    return max(time, seen or time)


def remember(state: Path) -> None:
    """Write down that the time has come: for once nothing that could be asked has contradicted this host's clock.

    Written before that, a clock that jumped ahead for a moment would stop the host until somebody removes the file.
    """
    path, time = state / "clock", now(state)
    seen = _seen(path)
    if seen and time <= seen + _REMEMBERED:
        return
    try:
        write_whole(path, _written(time).encode())
    except OSError as error:
        hint = "the host's user must be able to write its state folder"
        raise ClockWrong(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _seen(path: Path) -> dt.datetime | None:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        text = ""
    try:
        return dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        raise ClockWrong(f"{path} cannot be read as a time", hint="find out who changed it, then remove it") from None


def _written(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
