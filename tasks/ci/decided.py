"""What became of a repository's newest commit: remembered, so that polling starts only what nobody has decided."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from interlock.contract import layout
from interlock.contract.canonical import canonical, digest
from tasks.common import git

_FILE = "decided"


@dataclass(frozen=True)
class Decided:
    """A commit that a release has dealt with. `policy`: what `policy_of` said when the gate kept it out."""

    commit: str
    policy: str | None = None


def policy_of(mirror: Path, commit: str) -> str:
    """A digest of what people wrote in the environment repository: another's release changes no verdict."""
    written = [[each.path, each.blob] for each in git.list_files(mirror, commit) if not layout.is_machines(each.path)]
    return digest(canonical(written))


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
