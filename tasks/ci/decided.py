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
    """A commit that a release has dealt with, for good when nothing else is said.

    `policy`: what people had written when the gate kept it out. `places`: where it might be released when it was.
    """

    commit: str
    policy: str | None = None
    places: str | None = None

    def holds(self, now: Standing) -> bool:
        """Whether nothing has changed that could give another result."""
        return self.policy in (None, now.policy) and self.places in (None, now.places)


@dataclass(frozen=True)
class Standing:
    """Digests of what releases depend on in the environment repository; another's release changes none of them."""

    policy: str
    """Of all that people wrote."""
    places: str
    """Of the bindings, and of which environment has which application."""


def standing(mirror: Path, commit: str) -> Standing:
    """What a commit of the environment repository says; Refused when its tree is not accepted."""
    written = [each for each in git.list_files(mirror, commit) if not layout.is_machines(each.path)]
    folders = sorted({each.path.rpartition("/")[0] for each in written if each.path.startswith("environments/")})
    bindings = [each.blob for each in written if each.path == layout.BINDINGS]
    policy = digest(canonical([[each.path, each.blob] for each in written]))
    return Standing(policy, digest(canonical([bindings, folders])))


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
