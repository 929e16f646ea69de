"""What became of a repository's newest commit: remembered, so that polling starts only what nobody has decided."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "decided"


@dataclass(frozen=True)
class Decided:
    """A commit that a release has dealt with. `policy`: the environment repository's commit that kept it out."""

    commit: str
    policy: str | None = None


def read_decided(state: Path, repository: str) -> Decided | None:
    """None when nothing is known. It is a memory that may be lost: what is released already ends at once."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Decided(**json.loads(_path(state, repository).read_text()))
    return None


def write_decided(state: Path, repository: str, decided: Decided) -> None:
    """Whole or not at all."""
    path = _path(state, repository)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(asdict(decided)))
    new.replace(path)


def _path(state: Path, repository: str) -> Path:
    return state / _FILE / f"{repository.replace('/', '%2F')}.json"
