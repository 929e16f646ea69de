"""Where fights over fields are remembered: a file for each environment in CD's state folder, which may be lost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from interlock.cd import contest
from interlock.cd.contest import Contest, History
from interlock.cd.objects import Path as FieldPath
from interlock.contract.models import ConflictRule
from interlock.contract.render import Identity
from tasks.common.effect import effect
from tasks.common.whole_file import write_whole


def _path(state: Path, environment: str) -> Path:
    return state / "contests" / f"{environment}.json"


def _read(state: Path, environment: str) -> History:
    with suppress(OSError):
        return contest.read(_path(state, environment).read_bytes())
    return History()


def waiting(state: Path, environment: str) -> tuple[Contest, ...]:
    """The fields whose undo waits now."""
    return contest.waiting(_read(state, environment), time.time())


@effect(name="remember what was put back")
def note(
    state: Path,
    environment: str,
    put_back: Iterable[tuple[Identity, FieldPath, str]],
    rules: Iterable[ConflictRule],
) -> None:
    """Remember what an undo has put back. A disk that is full costs the memory, nothing else."""
    history = contest.noted(_read(state, environment), put_back, rules, time.time())
    with suppress(OSError):
        write_whole(_path(state, environment), contest.write(history))
