"""Remembering what became of each repository's newest commit, so that polling starts only what nobody has decided."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from interlock.ci.decided import Decided, Standing, standing
from tasks.common import git
from tasks.common.whole_file import write_whole

_FILE = "decided"


def standing_at(mirror: Path, commit: str) -> Standing:
    """What a commit of the environment repository says; Refused when its tree is not accepted."""
    return standing((each.path, each.blob) for each in git.list_files(mirror, commit))


def read_decided(state: Path, repository: str) -> Decided | None:
    """None when nothing is known. It is a memory that may be lost: what is released already ends at once."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Decided(**json.loads(_path(state, repository).read_text()))
    return None


def write_decided(state: Path, repository: str, decided: Decided) -> None:
    """Whole or not at all."""
    write_whole(_path(state, repository), json.dumps(asdict(decided)).encode())


def forget_decided(state: Path, repository: str) -> None:
    """Have its newest commit dealt with again."""
    _path(state, repository).unlink(missing_ok=True)


def _path(state: Path, repository: str) -> Path:
    return state / _FILE / f"{repository.replace('/', '%2F')}.json"
